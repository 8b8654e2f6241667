/** How a reply of a small provider goes wrong by script, and what sending one has to wait for. */
import type { ServerResponse } from 'node:http'
import type { ServerFault } from '../conformance/storage-world.ts'
import { sliceContent, type Content } from './s3-content.ts'

export interface Spoilable {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Content
}

/** Until more can be written, or nobody reads. */
export async function drained(outgoing: ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  outgoing.once('drain', resolve).once('close', resolve)
  await promise
  outgoing.off('drain', resolve).off('close', resolve)
}

/** The reply with the fault's harm done to its bytes or its range. */
export function spoil<R extends Spoilable>(reply: R, fault?: ServerFault): R {
  const { body, headers = {} } = reply
  if (!body || !fault) return reply
  if (fault.kind === 'truncate') return { ...reply, body: sliceContent(body, 0, Math.min(fault.bytes, body.size)) }
  if (fault.kind === 'corrupt') return { ...reply, body: corrupted(body) }
  if (fault.kind !== 'wrong-range' || headers['content-range'] === undefined) return reply
  const [, first = '0', last = '0', size = '0'] = /(\d+)-(\d+)\/(\d+)/.exec(headers['content-range']) ?? []
  const shifted = `bytes ${Number(first) + 1}-${Number(last) + 1}/${size}`
  return { ...reply, headers: { ...headers, 'content-range': shifted } }
}

const corrupted = (content: Content): Content => ({
  size: content.size,
  read(offset, length) {
    const bytes = Buffer.from(content.read(offset, length))
    if (offset === 0 && length > 0) bytes[0] = (bytes[0] as number) ^ 1
    return bytes
  },
})
