/** What anyone may ask of an agent: who it is, what it sells, pieces, and the ends of lanes. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { toHex } from '../../protocol/bytes.ts'
import { binary, byInfoHash, jsonBody, jsonReply, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import { envelopeFromJson, envelopeToJson } from '../../protocol/signed.ts'
import { offerSchema } from '../../protocol/x402.ts'
import type { AgentContext } from '../context.ts'
import type { PieceHead, PieceReply, Seller } from '../sell/sell.ts'

/** Puts a piece on the wire and calls `reply.done()` when its buffer is free again. */
export type SendPiece = (c: Context, reply: PieceReply) => Response

/** For every host but Node: the bytes are copied, so that the buffer is free at once. */
export const sendPieceCopy: SendPiece = (_, reply) => {
  const response = new Response(new Uint8Array(reply.body), { status: reply.status, headers: reply.headers })
  reply.done()
  return response
}

const headOf = ({ status, headers, length }: PieceHead): Response =>
  new Response(null, { status, headers: { ...headers, 'content-length': String(length) } })

const profileRoute = createRoute({
  method: 'get',
  path: '/.well-known/raincheck',
  summary: 'Who this agent speaks for, and where it settles',
  responses: {
    200: jsonReply(
      'The owner id, the agent key, the identity operations and the delegation that binds them',
      z.object({
        id: wire.id,
        key: wire.id,
        operations: z.array(wire.envelope),
        delegation: wire.envelope,
        ledger: z.string(),
        repository: z.string(),
      }),
    ),
  },
})

const offerRoute = createRoute({
  method: 'get',
  path: '/v1/pieces/{infoHash}',
  summary: 'What is held of a content, and its price',
  request: { params: byInfoHash },
  responses: ok(
    'The offer',
    z.object({
      infoHash: wire.id,
      pieceLength: z.int(),
      pieces: z.int(),
      bitfield: wire.base64url,
      price: wire.money,
      public: z.boolean(),
      accepts: z.array(offerSchema),
      ways: z
        .array(
          z.object({
            way: z.enum(['copy', 'link', 'through']),
            provider: z.string(),
            region: z.string().optional(),
            hosts: z.array(z.string()),
          }),
        )
        .optional(),
    }),
  ),
})

const pieceRoute = createRoute({
  method: 'get',
  path: '/v1/pieces/{infoHash}/{index}',
  summary: 'One piece, for one tick (x402 v2)',
  request: {
    params: byInfoHash.extend({ index: z.string().regex(/^(0|[1-9][0-9]{0,8})$/) }),
    headers: z.object({ 'payment-signature': z.string().optional(), prefer: z.string().optional() }),
  },
  responses: {
    200: { description: 'The piece', content: binary('application/octet-stream') },
    307: { description: 'Where the piece lies: a link good for its range alone' },
    402: { description: 'The offer, in PAYMENT-REQUIRED', content: problemReply.content },
    default: problemReply,
  },
})

const tickSchema = z.strictObject({
  lane: wire.id,
  unit: z.number().openapi({ type: 'integer', minimum: 1 }),
  link: wire.base64url,
  proof: z.array(wire.base64url).max(32).optional(),
})

const tickRoute = createRoute({
  method: 'post',
  path: '/v1/ticks',
  summary: 'The tick of a sealed piece, for its key, or the last of a lane on credit',
  request: { body: jsonBody(z.strictObject({ tick: tickSchema })) },
  responses: ok('The tab after it', z.object({ lane: wire.id, unit: z.int(), key: wire.base64url.optional() })),
})

const signoffRoute = createRoute({
  method: 'post',
  path: '/v1/signoffs',
  summary: 'Redeem the last tick of a lane and sign the lane off',
  request: { body: jsonBody(z.strictObject({ signoff: wire.envelope })) },
  responses: ok('Units redeemed', z.object({ lane: wire.id, redeemed: z.int() })),
})

export function mountPublicApi(app: OpenAPIHono, context: AgentContext, seller: Seller, sendPiece: SendPiece): void {
  app.openapi(profileRoute, (c) => c.json(profile(context), 200))
  app.openapi(offerRoute, async (c) => c.json(await seller.offer(c.req.valid('param').infoHash), 200))
  app.openapi(pieceRoute, async (c) => {
    const { infoHash, index } = c.req.valid('param')
    const url = `${context.publicUrl}${c.req.path}`
    // Hono hands on HEAD as GET: no tick is taken for what is not sent.
    if (c.req.method === 'HEAD') return headOf(await seller.head(infoHash, Number(index), url))
    const payment = c.req.header('payment-signature')
    return sendPiece(c, await seller.piece(infoHash, Number(index), payment, url, c.req.header('prefer')))
  })
  app.openapi(tickRoute, async (c) => c.json(await seller.tick(c.req.valid('json').tick), 200))
  app.openapi(signoffRoute, async (c) =>
    c.json(await seller.signoff(envelopeFromJson(c.req.valid('json').signoff)), 200),
  )
}

function profile(context: AgentContext) {
  return {
    id: toHex(context.owner),
    key: toHex(context.signer.key),
    operations: context.operations.map(envelopeToJson),
    delegation: envelopeToJson(context.delegation),
    ledger: context.ledger.url,
    repository: context.repository.url,
  }
}
