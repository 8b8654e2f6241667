import { expect, it } from 'vitest'
import { mountPublicApi, sendPieceCopy } from '../../agent/api/public-api.ts'
import { sendPieceNode } from '../../agent/sell/piece-server-node.ts'
import { listen } from '../../infra/serve.ts'
import { createService } from '../../protocol/service.ts'
import { PAYMENT_SIGNATURE } from '../../protocol/x402.ts'
import { openMarket, pieceOf } from './market.ts'

async function open(options: { public?: boolean } = {}) {
  const market = await openMarket(options)
  const app = createService({ title: 'seller', description: '' })
  mountPublicApi(app, market.context, market.seller, sendPieceCopy)
  const lane = (await (await market.payer('payer')).declare(24)).lane('prepaid', 0, 2)
  const path = (index: number): string => `/v1/pieces/${market.share.infoHash}/${index}`
  return { ...market, app, lane, path }
}

it('a HEAD request on a piece spends no tick, whatever payment it shows', async () => {
  const { app, lane, path, share, content, reads } = await open()
  const headers = { [PAYMENT_SIGNATURE]: lane.payment(1) }
  const head = await app.request(path(3), { method: 'HEAD', headers })
  expect([head.status, await head.text(), reads()]).toEqual([402, '', 0])

  const paid = await app.request(path(5), { headers })
  expect(paid.status).toBe(200)
  expect(new Uint8Array(await paid.arrayBuffer())).toEqual(pieceOf(share, content, 5))
})

it('a HEAD request on a free piece tells its length, and reads nothing', async () => {
  const { context, seller, path, reads } = await open({ public: true })
  const app = createService({ title: 'seller', description: '' })
  mountPublicApi(app, context, seller, sendPieceNode)
  const server = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  const head = await fetch(`http://127.0.0.1:${server.port}${path(0)}`, { method: 'HEAD' })
  expect([head.status, head.headers.get('content-length'), await head.text(), reads()]).toEqual([200, '16384', '', 0])
  await server.close()
})
