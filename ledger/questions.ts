/** The endpoints that tell the state of the books. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { fromHex, toBase64url, toHex } from '../protocol/bytes.ts'
import { formatVerifierKey } from '../protocol/checkpoint.ts'
import { LANE_MODES } from '../protocol/commitment.ts'
import { parseDeclaration } from '../protocol/declaration.ts'
import { entryHash } from '../protocol/entry.ts'
import { accounts, keys, lanes, readKnown, reserves, type Lane } from '../protocol/arbiter/items.ts'
import { Problem } from '../protocol/problem.ts'
import { byId, count, decimal, ok } from '../protocol/route.ts'
import { wire } from '../protocol/service.ts'
import { envelopeToJson } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import { networkOf } from '../protocol/x402.ts'
import { viewOf } from './state.ts'
import { readBalance } from './balances.ts'
import type { Books } from './books.ts'
import { policySchema, readGovernment } from './federation-api.ts'
import { readHead, readProven, type ProvenEntry } from './log.ts'
import { readJoined, shardsOf } from './shards.ts'
import { readStatement, type StatementRow } from './statement.ts'

const ROWS_MAX = 1000
const ROWS_DEFAULT = 100

const ledgerRoute = createRoute({
  method: 'get',
  path: '/v1/ledger',
  summary: 'Who this ledger is and what its policy says',
  responses: ok(
    'The ledger',
    z.object({
      id: wire.id,
      origin: z
        .string()
        .openapi({ description: 'Names the log in its checkpoints', example: 'raincheck.local/ledger' }),
      key: wire.id.openapi({ description: 'ed25519 public key of checkpoints and receipts; the id is its SHA-256' }),
      vkey: z.string().openapi({ description: 'The key as C2SP signed-note writes it' }),
      network: z.string().openapi({ description: 'The network of x402 offers that this ledger settles' }),
      ...policySchema,
      faucet: wire.money,
      mergeDelayMs: count,
      shards: count.optional().openapi({ description: 'How many the log is in, where it is not one' }),
      witnesses: z
        .array(z.string())
        .openapi({ description: 'Verifier keys of the witnesses that are asked to cosign each checkpoint' }),
    }),
  ),
})

const accountRoute = createRoute({
  method: 'get',
  path: '/v1/accounts/{id}',
  summary: 'What an account holds at this moment',
  request: { params: byId },
  responses: ok(
    'The account',
    z.object({
      id: wire.id,
      keys: z.array(wire.id),
      available: wire.money,
      frozen: wire.money,
      earned: wire.money,
      bonds: wire.money,
      declarations: z.array(wire.id).openapi({ description: 'Its declarations that hold credits, or may' }),
      lanes: z.array(wire.id).openapi({ description: 'The open lanes to it' }),
    }),
  ),
})

const shardParameter = decimal.optional().openapi({ description: 'Of a log in shards, whose entries; 0 unless given' })

const statementRoute = createRoute({
  method: 'get',
  path: '/v1/accounts/{id}/entries',
  summary: 'The log’s entries on an account, the oldest first, with what each moved',
  request: {
    params: byId,
    query: z.strictObject({
      after: decimal.optional().openapi({ description: 'Only entries after this index' }),
      shard: shardParameter,
      limit: decimal
        .pipe(z.int().min(1).max(ROWS_MAX))
        .optional()
        .openapi({ type: 'integer', description: `${ROWS_DEFAULT} unless given` }),
    }),
  },
  responses: ok(
    'The entries',
    z.object({
      entries: z.array(
        z.object({
          index: count,
          kind: z.string(),
          time: wire.time,
          entry: wire.id.openapi({ description: 'The leaf hash' }),
          available: wire.difference,
          frozen: wire.difference,
          earned: wire.difference,
          bonds: wire.difference,
        }),
      ),
    }),
  ),
})

const declarationRoute = createRoute({
  method: 'get',
  path: '/v1/declarations/{id}',
  summary: 'A declaration and what of it is not in a lane',
  request: { params: byId },
  responses: ok(
    'The declaration',
    z.object({
      id: wire.id,
      declaration: wire.envelope,
      payer: wire.id,
      unclaimed: count.openapi({ description: 'Units' }),
      openLanes: count,
      closed: z.boolean(),
    }),
  ),
})

const laneRoute = createRoute({
  method: 'get',
  path: '/v1/lanes/{id}',
  summary: 'A lane and how far it is redeemed',
  request: { params: byId },
  responses: ok(
    'The lane',
    z.object({
      id: wire.id,
      declaration: wire.id,
      commitment: wire.envelope,
      payer: wire.id,
      payee: wire.id,
      mode: z.enum(LANE_MODES),
      claimer: wire.id.openapi({ description: 'The key that claimed it' }),
      sealed: z
        .object({ anchor: wire.id, bond: wire.money, key: wire.id })
        .optional()
        .openapi({ description: 'Of a sealed lane; `key` is that of the last unit redeemed' }),
      first: count,
      cap: count.openapi({ description: 'Units' }),
      redeemed: count.openapi({ description: 'Units' }),
      unitPrice: wire.money,
      expires: wire.time,
      disputeWindow: count.openapi({ description: 'Milliseconds' }),
      closed: z.boolean(),
    }),
  ),
})

const provenEntry = {
  index: count,
  entry: wire.base64url,
  hash: wire.id,
  size: count.openapi({ description: 'Size of the tree that the proof is for' }),
  proof: z.array(wire.id),
}

const entryRoute = createRoute({
  method: 'get',
  path: '/v1/entries/{index}',
  summary: 'An entry of the log and the proof that it is in it',
  request: {
    params: z.object({ index: decimal }),
    query: z.strictObject({
      shard: decimal
        .optional()
        .openapi({ description: 'Of a log in shards, whose entry; one of the root log unless given' }),
    }),
  },
  responses: ok(
    'The entry',
    z.object({
      ...provenEntry,
      join: z
        .object(provenEntry)
        .optional()
        .openapi({ description: 'Of an entry of a shard: that of the root log with the shard’s checkpoint' }),
    }),
  ),
})

export function addQuestions(app: OpenAPIHono, books: Books): void {
  const { store } = books.context
  const shards = shardsOf(books.context)
  const storeOf = (shard: number): Store => {
    const place = shards[shard]?.store
    if (!place) throw new Problem('not-found', `The log is in ${shards.length} shards.`)
    return place
  }
  addLedger(app, books)
  app.openapi(accountRoute, async (c) => {
    const balance = await readBalance(store, fromHex(c.req.valid('param').id))
    const { available, frozen, earned, bonds } = balance
    const money = { available: `${available}`, frozen: `${frozen}`, earned: `${earned}`, bonds: `${bonds}` }
    const { declarations, id, keys: signers, lanes: incoming } = balance
    return c.json(
      {
        ...money,
        id: toHex(id),
        keys: signers.map(toHex),
        declarations: declarations.map(toHex),
        lanes: incoming.map(toHex),
      },
      200,
    )
  })
  app.openapi(statementRoute, async (c) => {
    const id = fromHex(c.req.valid('param').id)
    const { after = -1, limit = ROWS_DEFAULT, shard = 0 } = c.req.valid('query')
    await readKnown(viewOf(store), accounts, keys.account(id), 'account')
    const rows = await readStatement(storeOf(shard), id, after + 1, limit)
    return c.json({ entries: rows.map(rowToJson) }, 200)
  })
  app.openapi(declarationRoute, async (c) => {
    const { id } = c.req.valid('param')
    const reserve = await readKnown(viewOf(store), reserves, keys.declaration(fromHex(id)), 'declaration')
    const { closed, envelope, open, unclaimed } = reserve
    const payer = toHex(parseDeclaration(envelope).payer)
    return c.json(
      { id, declaration: envelopeToJson(envelope), payer, unclaimed, openLanes: open, closed: closed !== undefined },
      200,
    )
  })
  app.openapi(laneRoute, async (c) => {
    const { id } = c.req.valid('param')
    const lane = await readKnown(viewOf(store), lanes, keys.lane(fromHex(id)), 'lane')
    return c.json(laneToJson(id, lane), 200)
  })
  app.openapi(entryRoute, async (c) => {
    const at = c.req.valid('param').index
    const { shard } = c.req.valid('query')
    if (shard === undefined) return c.json(provenToJson(await readProven(store, at, (await readHead(store)).size)), 200)
    const { entry, join } = await readJoined(store, storeOf(shard), shard, at)
    return c.json({ ...provenToJson(entry), join: provenToJson(join) }, 200)
  })
}

const provenToJson = ({ bytes, index, proof, size }: ProvenEntry) => ({
  index,
  entry: toBase64url(bytes),
  hash: toHex(entryHash(bytes)),
  size,
  proof: proof.map(toHex),
})

function addLedger(app: OpenAPIHono, books: Books): void {
  const { context } = books
  app.openapi(ledgerRoute, async (c) => {
    const policy = await books.policy()
    const { faucet, mergeDelay } = policy
    const { id, origin, signer, verifierKey, witnesses } = context
    return c.json(
      {
        id: toHex(id),
        origin,
        key: toHex(signer.key),
        vkey: verifierKey,
        network: networkOf(id),
        ...(await readGovernment(books, policy)),
        faucet: String(faucet),
        mergeDelayMs: mergeDelay,
        ...(policy.shards !== undefined && { shards: policy.shards }),
        witnesses: witnesses.map(({ key }) => formatVerifierKey(key)),
      },
      200,
    )
  })
}

const rowToJson = ({ available, bonds = 0n, earned, entry, frozen, index: at, kind, time }: StatementRow) => ({
  index: at,
  kind,
  time,
  entry: toHex(entry),
  available: String(available),
  frozen: String(frozen),
  earned: String(earned),
  bonds: String(bonds),
})

const sealedToJson = ({ anchor, bond, key }: NonNullable<Lane['sealed']>) => ({
  anchor: toHex(anchor),
  bond: String(bond),
  key: toHex(key),
})

const laneToJson = (id: string, lane: Lane) => ({
  id,
  declaration: toHex(lane.declaration),
  commitment: envelopeToJson(lane.commitment),
  payer: toHex(lane.payer),
  payee: toHex(lane.payee),
  mode: lane.mode,
  claimer: toHex(lane.claimer),
  ...(lane.sealed && { sealed: sealedToJson(lane.sealed) }),
  first: lane.first,
  cap: lane.cap,
  redeemed: lane.redeemed,
  unitPrice: String(lane.unitPrice),
  expires: lane.expires,
  disputeWindow: lane.disputeWindow,
  closed: lane.closed !== undefined,
})
