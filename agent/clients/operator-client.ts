/** A ledger as those see it who decide about it: orders that several keys sign, and credits that were paid for outside. */
import { z } from '@hono/zod-openapi'
import type { Environment } from '../../protocol/environment.ts'
import { count } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import { createHttpClient, money, signed } from './http-client.ts'
import { checkReceipt, createLedgerClient } from './ledger-client.ts'

const governmentShape = z.object({
  id: wire.id,
  origin: z.string(),
  vkey: z.string(),
  unitPrice: money,
  price: z.object({ seq: count, unitPrice: money, effective: wire.time }).optional(),
  faucet: money,
  issuer: wire.id.optional(),
  federation: z.object({ keys: z.array(wire.id), majority: count, authority: wire.id.optional() }),
  witnesses: z.array(z.string()),
})
const peersShape = z.object({
  peers: z.array(z.object({ id: wire.id, policy: z.string(), limit: money, received: money, sent: money, seq: count })),
})
const takenShape = z.object({ id: wire.id, receipt: signed('receipt') })

export type Government = z.output<typeof governmentShape>
export type LedgerPeer = z.output<typeof peersShape>['peers'][number]
/** By the name of its endpoint's list. */
export type OrderKind = 'price' | 'peer'

const ORDER_PATHS = { price: '/v1/prices', peer: '/v1/peers' } as const

export interface OperatorClient {
  readonly url: string
  /** Who decides, and what was decided last; ids and keys are hex. */
  government(): Promise<Government>
  /** The ledgers that it takes credits from. */
  peers(): Promise<readonly LedgerPeer[]>
  /** @returns the order's id. @throws Problem of the rules */
  order(kind: OrderKind, orders: readonly Envelope[]): Promise<string>
  /** @returns the purchase's id. @throws Problem of the rules */
  buy(purchase: Envelope): Promise<string>
  /** @param byOwner and `byIssuer` say the same. @returns the sale's id. @throws Problem of the rules */
  sell(byOwner: Envelope, byIssuer: Envelope): Promise<string>
}

/** @param options.url without a trailing slash */
export function createOperatorClient(options: { environment: Environment; url: string }): OperatorClient {
  const { environment, url } = options
  const http = createHttpClient(environment, url)
  const ledger = createLedgerClient(options)

  async function post(path: string, json: object): Promise<string> {
    const { id, receipt } = await http.json({ method: 'POST', path, json }, takenShape)
    checkReceipt(await ledger.info(), receipt)
    return id
  }

  return {
    url,
    government: () => http.json({ method: 'GET', path: '/v1/ledger' }, governmentShape),
    peers: async () => (await http.json({ method: 'GET', path: '/v1/peers' }, peersShape)).peers,
    order: (kind, orders) => post(ORDER_PATHS[kind], { [kind]: orders.map(envelopeToJson) }),
    buy: (purchase) => post('/v1/purchases', { buy: envelopeToJson(purchase) }),
    sell: (byOwner, byIssuer) => post('/v1/sales', { sell: envelopeToJson(byOwner), issuer: envelopeToJson(byIssuer) }),
  }
}
