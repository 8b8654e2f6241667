/** Pieces straight on Node's response: web streams between a buffer and a socket cost more than hashing the piece. */
import type { ServerResponse } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { sendPieceCopy, type SendPiece } from './public-api.ts'

export const sendPieceNode: SendPiece = (c, reply) => {
  const outgoing = (c.env as { outgoing?: ServerResponse } | undefined)?.outgoing
  if (!outgoing) return sendPieceCopy(c, reply)
  outgoing.once('close', reply.done)
  outgoing.writeHead(reply.status, { ...reply.headers, 'content-length': reply.body.length })
  outgoing.end(reply.body)
  return RESPONSE_ALREADY_SENT
}
