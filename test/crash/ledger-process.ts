/** A ledger as `npm run ledger` runs it, which tells its parent each time that it appends to the log. */
import { realEnvironment } from '../../infra/environment.ts'
import { listen } from '../../infra/serve.ts'
import { settings, untilTerminated } from '../../infra/service-process.ts'
import { openStore } from '../../infra/store/open.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { logKeys } from '../../ledger/log.ts'
import { equal, fromHex } from '../../protocol/bytes.ts'
import type { Store } from '../../protocol/store.ts'

const telling = (store: Store): Store => ({
  ...store,
  async write(changes) {
    const [change] = changes
    const head = change?.pk.endsWith(logKeys.head.pk) && change.sk === logKeys.head.sk ? change : undefined
    const before = head && (await store.get(head.pk, head.sk))?.body
    const isWritten = await store.write(changes)
    // Whoever takes over from another writes the head as it is.
    if (isWritten && head?.body && !(before && equal(before, head.body))) process.send?.('appended')
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
