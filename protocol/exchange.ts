/** One request and its whole reply, within a time and a size: what comes from outside is bounded here. */
import { concat, type Bytes } from './bytes.ts'
import type { Environment } from './environment.ts'
import { Problem } from './problem.ts'

export interface Reply {
  readonly status: number
  /** Its content type; empty where there is none. */
  readonly type: string
  readonly body: Bytes
}

export interface Bounds {
  readonly timeoutMs: number
  readonly replyBytes: number
}

/** Made once: an abort without a reason makes a new error, with its stack, for every call. */
const OVER = new Error('The call is over.')

/** Follows no redirect. @throws Problem `peer-failed` when it takes too long or says too much, and whatever the transport throws */
export async function exchange(
  { clock, transport }: Pick<Environment, 'clock' | 'transport'>,
  url: string,
  init: Pick<RequestInit, 'method' | 'body' | 'headers'>,
  { timeoutMs, replyBytes }: Bounds,
): Promise<Reply> {
  const abort = new AbortController()
  const late = clock.sleep(timeoutMs, abort.signal).then(() => {
    throw new Problem('peer-failed', `${new URL(url).origin} did not answer in time.`)
  })
  try {
    const request = new Request(url, { ...init, signal: abort.signal, redirect: 'manual' })
    return await Promise.race([reply(transport, request, replyBytes), late])
  } finally {
    late.catch(() => undefined)
    abort.abort(OVER)
  }
}

async function reply(transport: Environment['transport'], request: Request, maxBytes: number): Promise<Reply> {
  const response = await transport(request)
  const type = response.headers.get('content-type') ?? ''
  return { status: response.status, type, body: await readBody(response, maxBytes) }
}

/** The whole body. @throws Problem `peer-failed` when it is larger than `maxBytes` */
export async function readBody(response: Response, maxBytes: number): Promise<Bytes> {
  if (!response.body) return new Uint8Array(0)
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader()
  const chunks: Uint8Array[] = []
  for (let length = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return concat(...chunks)
    length += value.length
    chunks.push(value)
    if (length <= maxBytes) continue
    await reader.cancel().catch(() => undefined)
    throw new Problem('peer-failed', `The answer is larger than ${maxBytes} bytes.`)
  }
}
