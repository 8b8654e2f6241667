/** A ledger as `npm run ledger` runs it, which tells its parent each time that it swaps the head of the log. */
import { realEnvironment } from '../../infra/environment.ts'
import { listen } from '../../infra/serve.ts'
import { settings, untilTerminated } from '../../infra/service-process.ts'
import { openStore } from '../../infra/store/open.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { logKeys } from '../../ledger/log.ts'
import { fromHex } from '../../protocol/bytes.ts'
import type { Store } from '../../protocol/store.ts'

const telling = (store: Store): Store => ({
  ...store,
  async write(changes) {
    const isWritten = await store.write(changes)
    const { pk, sk } = logKeys.head
    if (isWritten && changes.some((change) => change.pk.endsWith(pk) && change.sk === sk)) process.send?.('swapped')
    return isWritten
  },
})

// Its parent is gone.
process.once('disconnect', () => process.exit(1))

await untilTerminated('ledger', async (report) => {
  const set = settings(process.env)
  const shards = Number(set.optional('LEDGER_SHARDS', '1'))
  const store = telling(await openStore(set.required('LEDGER_STORE')))
  const ledger = createLedger({
    environment: realEnvironment(),
    store,
    secret: fromHex(set.required('LEDGER_SECRET')),
    origin: 'crash.example/ledger',
    policy: { faucet: 1_000_000n, unitPrice: 1n, ...(shards > 1 && { shards }) },
    onFault: report,
  })
  await ledger.start()
  const server = await listen({ fetch: ledger.app.fetch, port: 0, hostname: '127.0.0.1' })
  return {
    url: `http://127.0.0.1:${server.port}`,
    async stop() {
      await server.close()
      await ledger.stop()
      store.close()
    },
  }
})
