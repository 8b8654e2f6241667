/** The endpoints of who is who, and who vouches for whom. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { fromHex, toHex } from '../protocol/bytes.ts'
import { operationFromJson, type IdentityState } from '../protocol/identity.ts'
import { limits } from '../protocol/limits.ts'
import { parseNotice } from '../protocol/notice.ts'
import { Problem } from '../protocol/problem.ts'
import { bookSchema, vouchProofSchema, wire } from '../protocol/service.ts'
import { envelopeFromJson, envelopeToJson } from '../protocol/signed.ts'
import { bookFromJson, bookToJson } from '../protocol/vouch.ts'
import type { Books } from './books.ts'
import type { Chains } from './chains.ts'
import type { Identities } from './identities.ts'
import type { RepositoryLog } from './log.ts'
import type { Notices } from './notices.ts'
import { byId, count, created, decimal, jsonBody, ok, okAsText } from '../protocol/route.ts'

const CHAINS_DEFAULT = 4

const operations = z.array(wire.envelope).min(1).max(limits.operationsPerIdentity)
const identity = z.object({ id: wire.id, keys: z.array(wire.id), seq: count })

const infoRoute = createRoute({
  method: 'get',
  path: '/v1/repository',
  summary: 'Who keeps the log',
  responses: ok(
    'The keys that its checkpoints are signed and timed with',
    z.object({ id: wire.id, origin: z.string(), vkey: z.string(), timeKey: z.string() }),
  ),
})

const registerRoute = createRoute({
  method: 'post',
  path: '/v1/identities',
  summary: 'Make an identity known, or its later operations',
  request: { body: jsonBody(z.strictObject({ operations })) },
  responses: created('The identity', identity),
})

const identityRoute = createRoute({
  method: 'get',
  path: '/v1/identities/{id}',
  summary: 'The operation log of an identity',
  request: { params: byId },
  responses: ok('The identity', identity.extend({ operations })),
})

const putBookRoute = createRoute({
  method: 'put',
  path: '/v1/books/{id}',
  summary: 'Publish the successor of a vouch book',
  request: { params: byId, body: jsonBody(z.strictObject({ book: bookSchema })) },
  responses: created(
    'The newest book',
    z.object({
      id: wire.id,
      seq: count,
      head: wire.id,
      expires: wire.time,
      receipt: wire.envelope.optional().openapi({ description: 'That the head is in the log' }),
    }),
  ),
})

const bookRoute = createRoute({
  method: 'get',
  path: '/v1/books/{id}',
  summary: 'The newest vouch book of an issuer',
  request: { params: byId },
  responses: ok(
    'The book',
    z.object({
      book: bookSchema,
      equivocation: z
        .array(wire.envelope)
        .length(2)
        .optional()
        .openapi({ description: 'Two heads under one number, both signed by the owner' }),
    }),
  ),
})

const chain = z
  .array(vouchProofSchema.extend({ path: z.array(wire.base64url).readonly() }))
  .readonly()
  .openapi({ description: 'A proof for each vouch, from the first id on' })

const chainsRoute = createRoute({
  method: 'get',
  path: '/v1/chains',
  summary: 'Vouching chains between two ids, to be verified offline',
  request: {
    query: z.strictObject({
      from: wire.id,
      to: wire.id,
      max: decimal.pipe(z.int().min(1).max(limits.chains)).optional().openapi({ type: 'integer' }),
    }),
  },
  responses: okAsText(
    'The chains, and the operation logs of their issuers',
    z.object({ identities: z.array(operations.readonly()).readonly(), chains: z.array(chain).readonly() }),
  ),
})

const notice = { notice: wire.envelope, delegation: wire.envelope.optional() }

const putNoticeRoute = createRoute({
  method: 'post',
  path: '/v1/notices',
  summary: 'Tell a voucher that whom it vouches for is distrusted',
  request: { body: jsonBody(z.strictObject(notice)) },
  responses: created('Who is told', z.object({ to: wire.id })),
})

const noticesRoute = createRoute({
  method: 'get',
  path: '/v1/notices/{id}',
  summary: 'What a voucher was told',
  request: { params: byId },
  responses: ok('The notices, to be verified by the reader', z.object({ notices: z.array(z.object(notice)) })),
})

export interface TrustParts {
  readonly identities: Identities
  readonly books: Books
  readonly chains: Chains
  readonly notices: Notices
  readonly log: Pick<RepositoryLog, 'info'>
}

export function addTrust(app: OpenAPIHono, { identities, books, chains, notices, log }: TrustParts): void {
  app.openapi(infoRoute, async (c) => {
    const { id, origin, vkey, timeKey } = await log.info()
    return c.json({ id, origin, vkey, timeKey }, 200)
  })
  app.openapi(registerRoute, async (c) => {
    const envelopes = c.req.valid('json').operations.map(operationFromJson)
    const { state, changed } = await identities.put(envelopes)
    return c.json(identityJson(state), changed ? 201 : 200)
  })
  app.openapi(identityRoute, async (c) => {
    const state = await identities.require(fromHex(c.req.valid('param').id))
    return c.json(
      { ...identityJson(state), operations: state.operations.map(({ envelope }) => envelopeToJson(envelope)) },
      200,
    )
  })
  app.openapi(putBookRoute, async (c) => {
    const { id } = c.req.valid('param')
    const { head, changed, receipt } = await books.put(fromHex(id), bookFromJson(c.req.valid('json').book))
    const place = { id, seq: head.seq, head: toHex(head.id), expires: head.expires }
    return c.json({ ...place, ...(receipt && { receipt: envelopeToJson(receipt) }) }, changed ? 201 : 200)
  })
  app.openapi(bookRoute, async (c) => {
    const id = fromHex(c.req.valid('param').id)
    const book = await books.find(id)
    if (!book) throw new Problem('not-found', 'The issuer has no book here.')
    const proof = await books.equivocation(id)
    return c.json({ book: bookToJson(book), ...(proof && { equivocation: proof.map(envelopeToJson) }) }, 200)
  })
  app.openapi(chainsRoute, async (c) => {
    const { from, to, max = CHAINS_DEFAULT } = c.req.valid('query')
    const found = await chains.find({ from: fromHex(from), to: fromHex(to), max })
    return c.body(found, 200, { 'content-type': 'application/json' })
  })
  addNotices(app, notices)
}

function addNotices(app: OpenAPIHono, notices: Notices): void {
  app.openapi(putNoticeRoute, async (c) => {
    const { notice: json, delegation } = c.req.valid('json')
    const envelope = envelopeFromJson(json)
    const { changed } = await notices.put(envelope, delegation && envelopeFromJson(delegation))
    return c.json({ to: toHex(parseNotice(envelope).to) }, changed ? 201 : 200)
  })
  app.openapi(noticesRoute, async (c) => {
    const kept = await notices.list(fromHex(c.req.valid('param').id))
    const json = kept.map((each) => ({
      notice: envelopeToJson(each.notice),
      ...(each.delegation && { delegation: envelopeToJson(each.delegation) }),
    }))
    return c.json({ notices: json }, 200)
  })
}

const identityJson = ({ id, keys, seq }: IdentityState) => ({ id: toHex(id), keys: keys.map(toHex), seq })
