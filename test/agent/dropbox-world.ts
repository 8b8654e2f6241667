/** A Dropbox of the tests, and a driver linked to it. */
import { openDropbox } from '../../agent/storage/dropbox.ts'
import type { DriverContext, DropboxSettings } from '../../agent/storage/open.ts'
import { PROVIDER_HOSTS } from '../../agent/storage/providers.ts'
import { createSecrets, type LinkSecret } from '../../agent/storage/secrets.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { CloudHarness } from '../conformance/storage-world.ts'
import {
  DROPBOX_CLIENT,
  DROPBOX_SCOPE,
  startDropbox,
  type DropboxOptions,
  type DropboxServer,
} from '../servers/dropbox.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { impatientClock } from './impatient-clock.ts'

export interface DropboxWorld extends CloudHarness {
  readonly server: DropboxServer
  readonly context: DriverContext
  /** As the link's record has it. */
  secret: LinkSecret | undefined
  open(settings?: Partial<DropboxSettings>): Promise<Storage>
}

export const dropboxHosts = (url: string) => ({
  ...PROVIDER_HOSTS,
  dropboxApi: url,
  dropboxContent: url,
  dropboxOauth: url,
})

export async function openDropboxWorld(options: DropboxOptions = {}): Promise<DropboxWorld> {
  const server = await startDropbox(options)
  const store = openSqlite(':memory:')
  const environment = { ...realEnvironment(), clock: impatientClock() }
  const secrets = createSecrets(environment.random.bytes(32), environment.random)
  const storages: Storage[] = []
  const { state } = server

  const world: DropboxWorld = {
    server,
    faults: server.faults,
    requests: (step) => server.requests(step),
    secret: server.oauth.grant(DROPBOX_SCOPE),
    context: {
      environment,
      store,
      secrets,
      hosts: dropboxHosts(server.url),
      link: 'dropbox',
      secret: async () => world.secret,
      async renewSecret(secret) {
        world.secret = secret
        return true
      },
    },
    async open(settings = {}) {
      const storage = await openDropbox({ appKey: DROPBOX_CLIENT.id, ...settings }, world.context)
      storages.push(storage)
      return storage
    },
    get storage() {
      return storages[0] as Storage
    },
    reopen: () => world.open(),
    async plant(name, bytes) {
      state.write(`/${name}`, bytesContent(Uint8Array.from(bytes)))
    },
    async uproot(name) {
      state.remove(`/${name}`)
    },
    everything: async () =>
      [...state.entries.values()]
        .filter(({ content }) => content)
        .map(({ display }) => display.slice(1))
        .toSorted(),
    async dispose() {
      for (const storage of storages) await storage.close()
      await server.close()
      store.close()
    },
  }
  await world.open()
  return world
}
