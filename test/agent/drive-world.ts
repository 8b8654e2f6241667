/** A Drive of the tests, and a driver linked to it. */
import { openDrive } from '../../agent/storage/drive.ts'
import type { DriveSettings, DriverContext } from '../../agent/storage/open.ts'
import { PROVIDER_HOSTS } from '../../agent/storage/providers.ts'
import { createSecrets, type LinkSecret } from '../../agent/storage/secrets.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { CloudHarness } from '../conformance/storage-world.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive, type DriveOptions, type DriveServer } from '../servers/drive.ts'
import { FOLDER, ROOT, type DriveFile } from '../servers/drive-state.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { impatientClock } from './impatient-clock.ts'

export interface DriveWorld extends CloudHarness {
  readonly server: DriveServer
  readonly context: DriverContext
  /** As the link's record has it. */
  secret: LinkSecret | undefined
  find(name: string): DriveFile | undefined
  open(settings?: Partial<DriveSettings>): Promise<Storage>
}

const LINKED = 'Raincheck'

export const googleHosts = (url: string) => ({ ...PROVIDER_HOSTS, googleApi: url, googleToken: url, googleOauth: url })

export async function openDriveWorld(options: DriveOptions = {}): Promise<DriveWorld> {
  const server = await startDrive(options)
  const store = openSqlite(':memory:')
  const environment = { ...realEnvironment(), clock: impatientClock() }
  const secrets = createSecrets(environment.random.bytes(32), environment.random)
  const storages: Storage[] = []
  const { state } = server
  const within = (parent: string, name: string, mime?: string): DriveFile | undefined =>
    [...state.files.values()].find(
      (file) =>
        file.name === name &&
        file.parents.includes(parent) &&
        !file.trashed &&
        (mime === undefined) === (file.mimeType !== FOLDER),
    )

  function folder(path: readonly string[], make: boolean): string | undefined {
    let id: string | undefined = ROOT
    for (const name of path) {
      const found: DriveFile | undefined = within(id, name, FOLDER)
      id = found?.id ?? (make ? state.create({ name, mimeType: FOLDER, parents: [id] }).id : undefined)
      if (id === undefined) return undefined
    }
    return id
  }

  function find(name: string): DriveFile | undefined {
    const parent = folder([LINKED, ...name.split('/').slice(0, -1)], false)
    return parent === undefined ? undefined : within(parent, name.split('/').at(-1) as string)
  }

  function pathOf({ name, parents: [parent = ''] }: DriveFile): string {
    const above = state.files.get(parent)
    return !above || above.name === LINKED || above.id === ROOT ? name : `${pathOf(above)}/${name}`
  }

  const world: DriveWorld = {
    server,
    faults: server.faults,
    requests: (step) => server.requests(step),
    secret: { ...server.oauth.grant(DRIVE_FILE_SCOPE), clientSecret: DRIVE_CLIENT.secret },
    context: {
      environment,
      store,
      secrets,
      hosts: googleHosts(server.url),
      link: 'drive',
      secret: async () => world.secret,
      async renewSecret(secret) {
        world.secret = secret
        return true
      },
    },
    find,
    async open(settings = {}) {
      const storage = await openDrive({ clientId: DRIVE_CLIENT.id, ...settings }, world.context)
      storages.push(storage)
      return storage
    },
    get storage() {
      return storages[0] as Storage
    },
    reopen: () => world.open(),
    async plant(name, bytes) {
      const file = find(name)
      const content = bytesContent(Uint8Array.from(bytes))
      const path = [LINKED, ...name.split('/')]
      if (file) state.replace(file, content)
      else state.create({ name: path.at(-1) as string, parents: [folder(path.slice(0, -1), true) as string], content })
    },
    async uproot(name) {
      state.remove((find(name) as DriveFile).id)
    },
    everything: async () =>
      [...[...state.files.values()].filter(({ content }) => content).map(pathOf), ...server.sessions()].toSorted(),
    async dispose() {
      for (const storage of storages) await storage.close()
      await server.close()
      store.close()
    },
  }
  await world.open()
  return world
}
