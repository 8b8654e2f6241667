/** Files straight on Node's response, part by part, each in the buffer that it was read into. */
import type { ServerResponse } from 'node:http'
import { limits } from '../../protocol/limits.ts'
import { sendFileCopy, type FileReply, type SendFile } from '../api/files-api.ts'
import { outgoingOf, SENT } from './piece-server-node.ts'
import type { Sendable } from './sell.ts'

export const sendFileNode: SendFile = async (c, reply) => {
  const outgoing = outgoingOf(c)
  if (!outgoing) return sendFileCopy(c, reply)
  await pour(outgoing, reply).catch(() => outgoing.destroy())
  return SENT
}

/** @throws what reading throws: the head is out, so that a connection which ends too soon is all that tells of it */
async function pour(outgoing: ServerResponse, { status, headers, parts }: FileReply): Promise<void> {
  if (!outgoing.destroyed) outgoing.writeHead(status, headers)
  for await (const part of parts) {
    await send(outgoing, part).finally(part.done)
    if (outgoing.destroyed) return
  }
  outgoing.end()
}

/** Until its bytes are the operating system's, or the reader has gone. One that stalls would keep its buffer from all others. */
async function send(outgoing: ServerResponse, { body, cutBy }: Sendable): Promise<void> {
  if (outgoing.destroyed) return
  const cut = (): void => void outgoing.destroy()
  cutBy?.(cut)
  const { promise: sent, resolve } = Promise.withResolvers<void>()
  outgoing.once('close', resolve)
  outgoing.setTimeout(limits.sendStallMs, cut)
  outgoing.write(body, () => resolve())
  await sent
  // While the next is read, it is not the reader who takes nothing.
  outgoing.setTimeout(0)
  outgoing.off('close', resolve).off('timeout', cut)
}
