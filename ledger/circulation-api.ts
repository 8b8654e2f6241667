/** Endpoints for how credits come into circulation and leave it: the issuer's orders, and what goes between ledgers. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { fromHex, toHex } from '../protocol/bytes.ts'
import { arrivals, locks, type LockItem } from '../protocol/arbiter/crossings.ts'
import { keys, read, readKnown } from '../protocol/arbiter/items.ts'
import { parseMint, parseRefund } from '../protocol/crossing.ts'
import { byId, ok } from '../protocol/route.ts'
import { wire } from '../protocol/service.ts'
import { objectId, type Envelope, type Kind } from '../protocol/signed.ts'
import type { Books } from './books.ts'
import { addCommand, type CommandRoute } from './commands.ts'
import { viewOf } from './state.ts'

const idOf =
  (kind: Kind): CommandRoute['answer'] =>
  (_, { body }) => ({ id: toHex(objectId(kind, body)) })

const issuerRoutes: readonly CommandRoute[] = [
  {
    kind: 'buy',
    path: '/v1/purchases',
    summary: 'Give an account credits that were paid for outside',
    description: 'Signed by the ledger’s issuer. A reference is used once.',
    parts: ['buy'],
    reply: { id: wire.id },
    answer: idOf('buy'),
  },
  {
    kind: 'sell',
    path: '/v1/sales',
    summary: 'Take credits out of an account that are paid for outside',
    description: 'The same order, signed by a key of the owner and by the ledger’s issuer.',
    parts: ['sell', 'issuer'],
    reply: { id: wire.id },
    answer: idOf('sell'),
  },
]

const settled = z
  .enum(['mint', 'decline'])
  .optional()
  .openapi({ description: 'What became of it here, as the ledger it was for' })
const lockSchema = z.object({
  id: wire.id,
  sent: z
    .object({ amount: wire.money, expires: wire.time, from: wire.id, target: wire.id, refunded: z.boolean() })
    .optional()
    .openapi({ description: 'Where it left this ledger' }),
  arrived: settled,
})

const crossingRoutes: readonly CommandRoute[] = [
  {
    kind: 'lock',
    path: '/v1/locks',
    summary: 'Send credits to another ledger',
    description: 'Signed by a key of the owner. The other ledger is a peer of this one.',
    parts: ['lock'],
    reply: { id: wire.id },
    answer: idOf('lock'),
  },
  {
    kind: 'mint',
    path: '/v1/mints',
    summary: 'Take up credits that another ledger locked for this one',
    description: 'On proof that the lock is in the log of a peer, before it expires. Signed by anyone.',
    parts: ['mint'],
    reply: { lock: wire.id },
    answer: (_, object) => ({ lock: toHex(parseMint(object).lock.id) }),
  },
  {
    kind: 'decline',
    path: '/v1/declines',
    summary: 'Have it stated that a lock was not minted here, and will not be',
    description: 'Takes the lock as its owner signed it, once it has expired.',
    parts: ['lock'],
    reply: { lock: wire.id },
    answer: (_, { body }: Envelope) => ({ lock: toHex(objectId('lock', body)) }),
  },
  {
    kind: 'refund',
    path: '/v1/refunds',
    summary: 'Give back credits that another ledger declined',
    description: 'On proof that the decline is in the log of the ledger they were for. Signed by anyone.',
    parts: ['refund'],
    reply: { lock: wire.id },
    answer: (_, object) => ({ lock: toHex(parseRefund(object).lock.id) }),
  },
]

const lockRoute = createRoute({
  method: 'get',
  path: '/v1/locks/{id}',
  summary: 'A lock, where it left and where it arrives',
  request: { params: byId },
  responses: ok('The lock', lockSchema),
})

export function addCirculation(app: OpenAPIHono, books: Books): void {
  for (const route of [...issuerRoutes, ...crossingRoutes]) addCommand(app, books, route)
  app.openapi(lockRoute, async (c) => {
    const { id } = c.req.valid('param')
    const view = viewOf(books.context.store)
    const arrived = (await read(view, arrivals, keys.arrival(fromHex(id))))?.what
    const place = keys.lock(fromHex(id))
    const sent = arrived ? await read(view, locks, place) : await readKnown(view, locks, place, 'lock')
    return c.json({ id, ...(sent && { sent: sentToJson(sent) }), ...(arrived && { arrived }) }, 200)
  })
}

const sentToJson = ({ amount, expires, from, refund, target }: LockItem) => ({
  amount: String(amount),
  expires,
  from: toHex(from),
  target: toHex(target),
  refunded: refund !== undefined,
})
