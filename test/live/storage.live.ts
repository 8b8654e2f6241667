/** The conformance of storages on real accounts. `npm run test:live` runs it, once told what it may touch. */
import { toHex } from '../../protocol/bytes.ts'
import { openStorage, type DriverContext } from '../../agent/storage/open.ts'
import { providerHosts } from '../../agent/storage/providers.ts'
import { createSecrets, type LinkSecret } from '../../agent/storage/secrets.ts'
import type { Storage, WriteRef } from '../../agent/storage/storage.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { describeStorage } from '../conformance/storage.ts'
import { namesOf, store, type StorageHarness } from '../conformance/storage-world.ts'
import { accountsIn, type Account } from './accounts.ts'

const environment = realEnvironment()
const folder = process.env['RAINCHECK_LIVE_FOLDER'] ?? 'raincheck-live'

/** Each test has a folder of its own. */
async function openLive({ kind, settings, secret }: Account): Promise<StorageHarness> {
  const base = openSqlite(':memory:')
  const name = toHex(environment.random.bytes(4))
  const storages: Storage[] = []
  const writes: WriteRef[] = []
  let kept: LinkSecret | undefined = secret
  const context: DriverContext = {
    environment,
    store: base,
    hosts: providerHosts((variable, otherwise) => process.env[variable] || otherwise),
    link: 'live',
    secret: async () => kept,
    async renewSecret(renewed) {
      kept = renewed
      return true
    },
    secrets: createSecrets(environment.random.bytes(32), environment.random),
  }
  const place = kind === 's3' ? { prefix: `${folder}/${name}` } : { folder: `${folder}/${name}` }

  async function reopen(): Promise<Storage> {
    const opened = await openStorage(kind, { ...settings, ...place }, context)
    const storage: Storage = {
      ...opened,
      async begin(...words) {
        const write = await opened.begin(...words)
        writes.push(write)
        return write
      },
    }
    storages.push(storage)
    return storage
  }

  async function uproot(file: string): Promise<void> {
    await (storages[0] as Storage).remove({ name: file })
  }

  return {
    storage: await reopen(),
    reopen,
    async plant(file, bytes) {
      await uproot(file)
      await store(storages[0] as Storage, file, bytes)
    },
    uproot,
    everything: () => namesOf(storages[0] as Storage),
    async dispose() {
      for (const write of writes) await (storages[0] as Storage).abort(write)
      for (const file of await namesOf(storages[0] as Storage)) await uproot(file)
      for (const storage of storages) await storage.close()
      base.close()
    },
  }
}

for (const account of accountsIn(process.env, folder))
  describeStorage(`${account.kind}, live,`, () => openLive(account))
