/**
 * Entry point of the ledger on Node (`npm run ledger`). LEDGER_STORE names the store and LEDGER_KEY_FILE a file with the
 * 32-byte key in hex, made when it is not there; LEDGER_ORIGIN names the log. PORT and HOST have defaults. LEDGER_WITNESSES
 * names a file with the witnesses to ask, LEDGER_TILES where to put the log as plain objects, LEDGER_REPLICA where to keep
 * the replayed state. What is for a new log stands in infra/ledger-settings.ts.
 */
import { readFile } from 'node:fs/promises'
import { realEnvironment } from '../infra/environment.ts'
import { ledgerPolicy } from '../infra/ledger-settings.ts'
import { openObjects } from '../infra/objects.ts'
import { listen } from '../infra/serve.ts'
import { openServiceKey } from '../infra/service-key.ts'
import { settings, untilTerminated } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import { witnessPlaces } from '../infra/witness-places.ts'
import { limits } from '../protocol/limits.ts'
import { createLedger } from './ledger.ts'

await untilTerminated('ledger', async (report) => {
  const set = settings(process.env)
  const environment = realEnvironment()
  const secret = await openServiceKey(set.required('LEDGER_KEY_FILE'), environment.random)
  const policy = ledgerPolicy(set)
  const store = await openStore(set.required('LEDGER_STORE'), {
    createTable: set.optional('RAINCHECK_CREATE_TABLE', '') === '1',
    writeMs: limits.ledgerWriteMs,
  })
  const origin = set.required('LEDGER_ORIGIN')
  const witnessFile = set.optional('LEDGER_WITNESSES', '')
  const witnesses = witnessFile === '' ? [] : witnessPlaces(await readFile(witnessFile, 'utf8'), witnessFile)
  const tiles = set.optional('LEDGER_TILES', '')
  const replica = set.optional('LEDGER_REPLICA', '')
  const replicaStore = replica === '' ? undefined : await openStore(replica, { synchronous: 'normal' })
  const shown = {
    ...(replicaStore && { replicaStore }),
    witnesses,
    ...(tiles !== '' && { objects: await openObjects(tiles) }),
  }
  const ledger = createLedger({ environment, store, secret, origin, policy, ...shown, onFault: report })
  await ledger.start()
  const [port, hostname] = [Number(set.optional('PORT', '8403')), set.optional('HOST', '127.0.0.1')]
  const server = await listen({ fetch: ledger.app.fetch, port, hostname })
  return {
    url: `http://${hostname}:${server.port}`,
    async stop() {
      await server.close()
      await ledger.stop()
      store.close()
      replicaStore?.close()
    },
  }
})
