/** What the owner asks of their agent about trust: the book, distrusts, verdicts. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { jsonBody, ok } from '../../protocol/route.ts'
import { bookSchema, wire } from '../../protocol/service.ts'
import { bookFromJson, bookToJson } from '../../protocol/vouch.ts'
import type { AgentContext } from '../context.ts'
import type { Seller } from '../sell/sell.ts'
import type { RepositoryBreach } from '../trust/log-view.ts'
import { trustTree } from '../trust/tree.ts'
import type { Trust } from '../trust/trust.ts'

export interface TrustApiParts {
  readonly context: AgentContext
  readonly trust: Trust
  readonly seller: Pick<Seller, 'owed'>
}

const trustSchema = z.object({ book: bookSchema.optional(), distrusted: z.array(wire.id) }).openapi('Trust')

const verdictSchema = z
  .object({ id: wire.id, trusted: z.boolean(), depth: z.int(), credit: z.int(), chain: z.array(wire.id) })
  .openapi('Verdict')

const pruneSchema = z
  .object({
    pruned: z.array(wire.id),
    lost: z.array(wire.id),
    weaker: z.array(z.object({ id: wire.id, depth: z.int(), credit: z.int() })),
    vouchers: z.array(z.object({ id: wire.id, halved: z.int() })),
    isWhole: z.boolean().openapi({ description: 'False when not all books around could be read' }),
  })
  .openapi('Prune')

const noticeSchema = z.object({ by: wire.id, subject: wire.id, times: z.int(), issued: wire.time }).openapi('Notice')

const treeSchema = z
  .object({
    isWhole: z.boolean().openapi({ description: 'False when not all books around could be read, or there are more' }),
    distrusted: z.array(wire.id),
    nodes: z.array(
      z.object({
        id: wire.id,
        by: wire.id,
        hop: z.int(),
        depth: z.int(),
        credit: z.int(),
        left: z.int(),
        vouch: z.object({ depth: z.int(), credit: z.int(), expires: wire.time }),
      }),
    ),
  })
  .openapi('TrustTree')

const breachSchema = z
  .object({
    kind: z.enum(['fork', 'split-view', 'hidden-revocation', 'dropped-book']),
    vkey: z.string().optional(),
    notes: z.array(z.string()).optional(),
    note: z.string().optional(),
    shown: wire.envelope.optional(),
    receipt: wire.envelope.optional(),
    index: z.int().optional(),
    entry: wire.base64url.optional(),
    proof: z.array(wire.base64url).optional(),
  })
  .openapi('Breach')

const routes = {
  trust: createRoute({
    method: 'get',
    path: '/v1/trust',
    responses: ok('The owner’s vouch book and local distrusts', trustSchema),
  }),
  putTrust: createRoute({
    method: 'put',
    path: '/v1/trust',
    request: {
      body: jsonBody(
        z.strictObject({
          book: bookSchema.optional(),
          distrusted: z.array(wire.id).max(10_000).optional(),
          followPrunes: z.boolean().optional(),
        }),
      ),
    },
    responses: ok('As it is now', trustSchema),
  }),
  tree: createRoute({
    method: 'get',
    path: '/v1/trust/tree',
    responses: ok('Whom the owner trusts, each after the one it hangs on', treeSchema),
  }),
  verdict: createRoute({
    method: 'get',
    path: '/v1/trust/{id}',
    request: { params: z.object({ id: wire.id }) },
    responses: ok('Whether and how far the owner trusts an id', verdictSchema),
  }),
  prune: createRoute({
    method: 'post',
    path: '/v1/trust/{id}/distrust',
    request: {
      params: z.object({ id: wire.id }),
      body: jsonBody(z.strictObject({ tree: z.boolean().optional(), preview: z.boolean().optional() })),
    },
    responses: ok('Whom it loses, or with `preview` would lose', pruneSchema),
  }),
  breaches: createRoute({
    method: 'get',
    path: '/v1/breaches',
    responses: ok('What the repository was caught at, each with its proof', z.array(breachSchema)),
  }),
  notices: createRoute({
    method: 'get',
    path: '/v1/notices',
    responses: ok('Who believes the owner less, for whom it vouched for', z.array(noticeSchema)),
  }),
}

export function mountTrust(app: OpenAPIHono, { context, trust, seller }: TrustApiParts): void {
  async function current() {
    const book = await trust.book()
    return { ...(book ? { book: bookToJson(book) } : {}), distrusted: [...(await trust.distrusted())] }
  }
  app.openapi(routes.trust, async (c) => c.json(await current(), 200))
  app.openapi(routes.putTrust, async (c) => {
    const { book, distrusted, followPrunes } = c.req.valid('json')
    if (book) await trust.putBook(bookFromJson(book))
    if (distrusted) await trust.putDistrusted(distrusted)
    if (followPrunes !== undefined) await trust.followPrunes(followPrunes)
    return c.json(await current(), 200)
  })
  // Before the route of an id, which would take it.
  app.openapi(routes.tree, async (c) => {
    const around = await trust.around()
    const { nodes, isWhole } = await trustTree(context.owner, around, (account) => seller.owed(account))
    return c.json({ isWhole, distrusted: [...around.distrusted], nodes: [...nodes] }, 200)
  })
  app.openapi(routes.verdict, async (c) => {
    const verdict = await trust.verdict(c.req.valid('param').id)
    return c.json({ ...verdict, chain: [...verdict.chain] }, 200)
  })
  app.openapi(routes.prune, async (c) => {
    const { tree = false, preview = false } = c.req.valid('json')
    const { pruned, lost, weaker, vouchers, isWhole } = await trust.prune(c.req.valid('param').id, { tree, preview })
    const lists = { pruned: [...pruned], lost: [...lost], weaker: [...weaker], vouchers: [...vouchers] }
    return c.json({ ...lists, isWhole }, 200)
  })
  app.openapi(routes.breaches, async (c) => c.json((await trust.breaches()).map(breachJson), 200))
  app.openapi(routes.notices, async (c) => c.json([...(await trust.notices())], 200))
}

function breachJson(breach: RepositoryBreach) {
  if (breach.kind === 'fork') return { ...breach, notes: [...breach.notes], proof: [...breach.proof] }
  if (breach.kind === 'split-view') return { ...breach, notes: [...breach.notes] }
  return breach.kind === 'hidden-revocation' ? { ...breach, proof: [...breach.proof] } : { ...breach }
}
