/** The endpoints that take signed objects, one for each kind of entry. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { toHex } from '../protocol/bytes.ts'
import { keys, readKnown, reserves } from '../protocol/arbiter/items.ts'
import type { CommandKind } from '../protocol/arbiter/step.ts'
import { decode, field, fields, type Fields, type Shape } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import { jsonBody, jsonReply } from '../protocol/route.ts'
import { problemReply, wire } from '../protocol/service.ts'
import { envelopeFromJson, envelopeToJson, objectId, type Envelope } from '../protocol/signed.ts'
import { viewOf } from './state.ts'
import { accountOf, sumOf, type Answer, type Books } from './books.ts'

export interface CommandRoute {
  readonly kind: CommandKind
  readonly path: string
  readonly summary: string
  readonly description: string
  /** Names of the signed objects in the request, in the order of the entry. */
  readonly parts: readonly string[]
  /** One more, which may be missing. */
  readonly optionalPart?: string
  /** In place of `parts`: the name of a list, one object for each that signs. */
  readonly signatures?: string
  /** What the reply says besides the receipt. */
  readonly reply: z.ZodRawShape
  readonly answer: (
    answer: Answer,
    ...objects: Envelope[]
  ) => Record<string, unknown> | Promise<Record<string, unknown>>
}

const receipt = wire.envelope.openapi({
  description: 'The ledger’s word that the entry will be in its log within the merge delay',
})

export function addCommand(app: OpenAPIHono, books: Books, command: CommandRoute): void {
  const { answer, kind, optionalPart, parts, reply, signatures, ...route } = command
  const body = z.strictObject({
    ...Object.fromEntries(parts.map((name) => [name, wire.envelope])),
    ...(optionalPart && { [optionalPart]: wire.envelope.optional() }),
    ...(signatures && { [signatures]: z.array(wire.envelope).min(1).max(limits.partsPerEntry) }),
  })
  const accepted = z.object({ ...reply, receipt })
  const described = createRoute({
    ...route,
    method: 'post',
    request: { body: jsonBody(body) },
    responses: {
      200: jsonReply('It was accepted before: the same answer again', accepted),
      201: jsonReply('It is accepted', accepted),
      default: problemReply,
    },
  })
  app.openapi(described, async (c) => {
    const objects = objectsIn(c.req.valid('json'), command)
    const outcome = await books.submit({ kind, parts: objects })
    const told = await answer(outcome, ...objects)
    return c.json({ ...told, receipt: envelopeToJson(outcome.receipt) }, outcome.isRepeat ? 200 : 201)
  })
}

function objectsIn(
  request: Readonly<Record<string, unknown>>,
  { optionalPart, parts, signatures }: CommandRoute,
): Envelope[] {
  const names = [...parts, optionalPart, signatures].filter((name) => name !== undefined)
  return names.flatMap((name) => request[name] ?? []).map((object) => envelopeFromJson(object))
}

export function addCommands(app: OpenAPIHono, books: Books): void {
  const add = (route: CommandRoute): void => addCommand(app, books, route)
  for (const route of accountRoutes) add(route)
  for (const route of laneRoutes(books)) add(route)
}

const accountRoutes: readonly CommandRoute[] = [
  {
    kind: 'register',
    path: '/v1/accounts',
    summary: 'Open an account',
    description:
      'Takes the first operation of an identity. A ledger with a faucet gives the account its first credits. One of a federation may ask for its membership.',
    parts: ['identity'],
    optionalPart: 'membership',
    reply: { id: wire.id },
    answer: ({ accepted }) => ({ id: toHex(accountOf(accepted)) }),
  },
  {
    kind: 'rotate',
    path: '/v1/rotations',
    summary: 'Change the keys of an account',
    description: 'Takes a later operation of the identity, or one that overrides an operation of the last 72 hours.',
    parts: ['identity'],
    reply: { id: wire.id },
    answer: ({ accepted }) => ({ id: toHex(accountOf(accepted)) }),
  },
  {
    kind: 'delegate',
    path: '/v1/delegations',
    summary: 'Let an agent’s key act for the account',
    description: 'Signed by a key of the owner. One that was issued later replaces the one before for the same agent.',
    parts: ['delegation'],
    reply: { id: wire.id },
    answer: (_, delegation) => ({ id: toHex(objectId('delegation', delegation.body)) }),
  },
  {
    kind: 'transfer',
    path: '/v1/transfers',
    summary: 'Give credits to another account',
    description: 'Signed by a key of the owner: an agent cannot.',
    parts: ['transfer'],
    reply: { id: wire.id },
    answer: (_, transfer) => ({ id: toHex(objectId('transfer', transfer.body)) }),
  },
]

const laneRoutes = ({ context: { store } }: Books): readonly CommandRoute[] => [
  {
    kind: 'declare',
    path: '/v1/declarations',
    summary: 'Freeze the price of a download',
    description: 'Signed by a key of the payer, or by its agent within the caps of the delegation.',
    parts: ['declaration'],
    reply: { id: wire.id },
    answer: (_, declaration) => ({ id: toHex(objectId('declaration', declaration.body)) }),
  },
  {
    kind: 'claim',
    path: '/v1/claims',
    summary: 'Take up a lane',
    description: 'By the payee, once. `lane-taken` carries, as `commitment`, the commitment that was claimed first.',
    parts: ['commitment', 'claim'],
    reply: { lane: wire.id, declaration: wire.envelope },
    answer: async (_, envelope) => {
      const { declaration } = reread(envelope, { declaration: field.bytes(32) })
      const reserve = await readKnown(viewOf(store), reserves, keys.declaration(declaration), 'declaration')
      const lane = toHex(objectId('commitment', envelope.body))
      return { lane, declaration: envelopeToJson(reserve.envelope) }
    },
  },
  {
    kind: 'redeem',
    path: '/v1/redemptions',
    summary: 'Turn the latest tick of a lane into credits',
    description: 'By the payee, before the declaration expires. `amount` is what this redemption earned.',
    parts: ['redemption'],
    reply: { lane: wire.id, unit: z.int(), amount: wire.money },
    answer: ({ accepted }, envelope) => {
      const { lane, unit } = reread(envelope, { lane: field.bytes(32), unit: field.integer() })
      return { lane: toHex(lane), unit, amount: String(sumOf(accepted, 'earned')) }
    },
  },
  {
    kind: 'release',
    path: '/v1/releases',
    summary: 'Close a lane, or take back what no lane has claimed',
    description:
      'A lane: by the payee at any time, by the payer after its dispute window; a sealed one by the payee before that only with the payer’s `signoff`. `returned` to the payer, `swept` to the payee.',
    parts: ['release'],
    optionalPart: 'signoff',
    reply: { returned: wire.money, swept: wire.money },
    answer: ({ accepted }) => ({
      returned: String(-sumOf(accepted, 'frozen')),
      swept: String(-sumOf(accepted, 'earned')),
    }),
  },
  {
    kind: 'dispute',
    path: '/v1/disputes',
    summary: 'Show that a sealed piece is not what its label says',
    description:
      'By the payer, until the dispute window is over. The lane ends; the `bond`, the unit and what is not redeemed go to the payer. `no-fault` moves nothing.',
    parts: ['label', 'dispute'],
    reply: { lane: wire.id, bond: wire.money },
    answer: ({ accepted }, label) => {
      const { lane } = reread(label, { lane: field.bytes(32) })
      return { lane: toHex(lane), bond: String(-sumOf(accepted, 'bonds')) }
    },
  },
]

/** Some fields of an object that was accepted: its form and signature were checked then. */
const reread = <S extends Shape>({ body }: Envelope, shape: S): Fields<S> => fields(decode(body), shape, { rest: true })
