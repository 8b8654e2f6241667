/** Endpoints of what a federation decides, and of who speaks for an account. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { fromHex, toHex } from '../protocol/bytes.ts'
import { readIdentity } from '../protocol/arbiter/authority.ts'
import { governorsOf, majorityOf, peers, priceAt, prices } from '../protocol/arbiter/governance.ts'
import { keys, read, type Policy } from '../protocol/arbiter/items.ts'
import { readAll } from '../protocol/items.ts'
import { byId, count, ok } from '../protocol/route.ts'
import { wire } from '../protocol/service.ts'
import { envelopeToJson, objectId } from '../protocol/signed.ts'
import type { Books } from './books.ts'
import { addCommand, type CommandRoute } from './commands.ts'
import { unstamp, viewOf } from './state.ts'

const orders: readonly CommandRoute[] = [
  {
    kind: 'price',
    path: '/v1/prices',
    summary: 'Change what a unit costs',
    description: 'The same order, signed by a majority of those who decide. It takes effect at a time of the ledger.',
    parts: [],
    signatures: 'price',
    reply: { id: wire.id },
    answer: (_, { body }) => ({ id: toHex(objectId('price', body)) }),
  },
  {
    kind: 'peer',
    path: '/v1/peers',
    summary: 'Trust another ledger, up to a limit',
    description: 'The same order, signed by a majority of those who decide.',
    parts: [],
    signatures: 'peer',
    reply: { id: wire.id },
    answer: (_, { body }) => ({ id: toHex(objectId('peer', body)) }),
  },
]

const peersRoute = createRoute({
  method: 'get',
  path: '/v1/peers',
  summary: 'The ledgers that this one takes credits from',
  responses: ok(
    'The peers',
    z.object({
      peers: z.array(
        z.object({
          id: wire.id,
          policy: z.string().openapi({ description: 'Its log and witnesses (C2SP tlog-policy)' }),
          limit: wire.money,
          received: wire.money,
          sent: wire.money,
          seq: count,
        }),
      ),
    }),
  ),
})

const operationsRoute = createRoute({
  method: 'get',
  path: '/v1/accounts/{id}/operations',
  summary: 'The operations of an account’s identity that are in force, with when the ledger took each',
  request: { params: byId },
  responses: ok(
    'The operations',
    z.object({ operations: z.array(z.object({ operation: wire.envelope, at: wire.time })) }),
  ),
})

export function addFederation(app: OpenAPIHono, books: Books): void {
  const { store } = books.context
  for (const order of orders) addCommand(app, books, order)
  app.openapi(peersRoute, async (c) => {
    const known = await readAll(store, keys.peer(new Uint8Array(32)).pk, (item) => item)
    const told = known.map((item) => {
      const { limit, policy, received, sent, seq } = peers.decode(unstamp(item).body)
      return { id: item.sk, policy, limit: `${limit}`, received: `${received}`, sent: `${sent}`, seq }
    })
    return c.json({ peers: told }, 200)
  })
  app.openapi(operationsRoute, async (c) => {
    const { operations } = await readIdentity(viewOf(store), fromHex(c.req.valid('param').id))
    return c.json(
      { operations: operations.map(({ atMs, envelope }) => ({ operation: envelopeToJson(envelope), at: atMs })) },
      200,
    )
  })
}

const federationSchema = z.object({
  keys: z.array(wire.id).openapi({ description: 'A majority of them decides' }),
  majority: count,
  authority: wire.id.optional().openapi({ description: 'Signs the memberships that it takes to open an account' }),
})

/** What `GET /v1/ledger` tells of who decides. */
export const policySchema = {
  unitPrice: wire.money.openapi({ description: 'In effect now' }),
  price: z
    .object({ seq: count, unitPrice: wire.money, effective: wire.time })
    .optional()
    .openapi({ description: 'The last order; it may take effect later' }),
  issuer: wire.id.optional().openapi({ description: 'Signs what is bought and sold for outside money' }),
  federation: federationSchema,
}

export async function readGovernment({ context: { environment, store } }: Books, policy: Policy) {
  const price = await read(viewOf(store), prices, keys.price)
  const { federation, issuer } = policy
  const governors = governorsOf(policy)
  return {
    unitPrice: String(priceAt(policy, price, environment.clock.now())),
    ...(price && { price: { seq: price.seq, unitPrice: String(price.unitPrice), effective: price.effective } }),
    ...(issuer && { issuer: toHex(issuer) }),
    federation: {
      keys: governors.map(toHex),
      majority: majorityOf(governors),
      ...(federation?.authority && { authority: toHex(federation.authority) }),
    },
  }
}
