/** Pieces straight on Node's response: web streams between a buffer and a socket cost more than hashing the piece. */
import type { ServerResponse } from 'node:http'
import type { Context } from 'hono'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { limits } from '../../protocol/limits.ts'
import { sendPieceCopy, type SendPiece } from '../api/public-api.ts'

/** Of its own kind whenever this is loaded: a server that listens gives `Response` another, of which it would write the headers again. */
export const SENT = RESPONSE_ALREADY_SENT.clone()

/** Undefined where it is not Node that answers. */
export const outgoingOf = (c: Context): ServerResponse | undefined =>
  (c.env as { outgoing?: ServerResponse } | undefined)?.outgoing

export const sendPieceNode: SendPiece = (c, reply) => {
  const outgoing = outgoingOf(c)
  if (!outgoing) return sendPieceCopy(c, reply)
  if (outgoing.destroyed) {
    // The reader left before there was anything to send: no event will follow.
    reply.done()
    return SENT
  }
  outgoing.once('close', reply.done)
  // A reader that stalls would keep its buffer from all others.
  reply.cutBy?.(() => outgoing.destroy())
  outgoing.setTimeout(limits.sendStallMs, () => outgoing.destroy())
  outgoing.writeHead(reply.status, { ...reply.headers, 'content-length': reply.body.length })
  outgoing.end(reply.body)
  return SENT
}
