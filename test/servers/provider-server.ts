/** What the small providers of the tests share: HTTP on this machine, steps that are counted, faults by script. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Faults, ServerFault, Step } from '../conformance/storage-world.ts'
import { createFaults } from './faults.ts'
import { bytesContent, sliceContent, type Content } from './s3-content.ts'
import { drained, spoil } from './spoiled-reply.ts'

export interface ServerRequest {
  readonly method: string
  readonly url: URL
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
}

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Content
}

export type Refusal = Extract<ServerFault, { kind: 'refuse' }>

/** How one provider answers. What it does not know it refuses, so that nothing passes here and fails there. */
export interface Provider {
  stepOf(request: ServerRequest): Step
  answer(request: ServerRequest): Reply
  /** As the provider words it. */
  refuse(request: ServerRequest, refusal: Refusal): Reply
  /** Of a resumable session: answers, and has less than it was sent. */
  forget?(request: ServerRequest, bytes: number): Reply
}

export interface ProviderServer {
  readonly url: string
  readonly faults: Faults
  requests(step?: Step): number
  /** Bytes of content that went in and out. */
  readonly traffic: { in: number; out: number }
  close(): Promise<void>
}

export const jsonReply = (status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json; charset=UTF-8', ...headers },
  body: bytesContent(Buffer.from(JSON.stringify(value))),
})

/** Thrown by an operation: the reply that refuses it. */
export class Refused extends Error {
  readonly reply: Reply

  constructor(reply: Reply) {
    super(`refused with ${reply.status}`)
    this.reply = reply
  }
}

export async function startProvider(provider: Provider): Promise<ProviderServer> {
  const faults = createFaults()
  const counts = new Map<Step, number>()
  const traffic = { in: 0, out: 0 }

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const head = headOf(incoming)
    const step = provider.stepOf(head)
    counts.set(step, (counts.get(step) ?? 0) + 1)
    const fault = faults.take(step)
    if (fault?.kind === 'reset-request') return resetAfter(incoming, fault.afterBytes)
    const request = { ...head, body: await bodyOf(incoming) }
    if (step === 'put') traffic.in += request.body.length
    const reply = answer(request, fault)
    if (fault?.kind === 'drop-reply') return void incoming.socket.destroy()
    const sent = await send(spoil(reply, fault), outgoing, fault)
    if (step === 'read') traffic.out += sent
  }

  function answer(request: ServerRequest, fault?: ServerFault): Reply {
    try {
      if (fault?.kind === 'refuse') return provider.refuse(request, fault)
      if (fault?.kind === 'forget-bytes' && provider.forget) return provider.forget(request, fault.bytes)
      if (fault?.kind !== 'ignore-range') return provider.answer(request)
      const { range: _, ...headers } = request.headers
      return provider.answer({ ...request, headers })
    } catch (error) {
      if (error instanceof Refused) return error.reply
      throw error
    }
  }

  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => {
      if (!outgoing.headersSent) outgoing.writeHead(599)
      outgoing.end(String((error as Error).stack))
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    requests: (step) => (step ? (counts.get(step) ?? 0) : [...counts.values()].reduce((sum, count) => sum + count, 0)),
    traffic,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function headOf({ method = 'GET', url = '/', headers }: IncomingMessage): ServerRequest {
  const flat = Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value])
  return { method, url: new URL(url, 'http://server'), headers: Object.fromEntries(flat), body: Buffer.alloc(0) }
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function resetAfter(incoming: IncomingMessage, afterBytes: number): void {
  let seen = 0
  incoming.on('data', (chunk: Buffer) => {
    seen += chunk.length
    if (seen >= afterBytes) incoming.socket.resetAndDestroy()
  })
  incoming.on('end', () => incoming.socket.resetAndDestroy())
}

const CHUNK = 1024 * 1024

/** @returns the bytes of the body that were sent */
async function send({ status, headers, body }: Reply, outgoing: ServerResponse, fault?: ServerFault): Promise<number> {
  const size = body?.size ?? 0
  outgoing.writeHead(status, { ...headers, ...(status !== 204 && { 'content-length': size }) })
  const most = fault?.kind === 'reset-reply' ? Math.min(size, fault.afterBytes) : size
  const bytes = body ?? bytesContent(new Uint8Array(0))
  for (let at = 0; at < most; at += CHUNK) {
    const more = outgoing.write(bytes.read(at, Math.min(CHUNK, most - at)))
    if (!more && !outgoing.destroyed) await drained(outgoing)
  }
  if (fault?.kind === 'reset-reply') outgoing.socket?.destroy()
  else outgoing.end()
  return most
}

/** RFC 9110 §14.2: one range of bytes, or the whole. @returns undefined where it cannot be satisfied */
export function rangeReply(content: Content, range: string | undefined): Reply | undefined {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  if (first === undefined) return { status: 200, body: content }
  const from = Number(first)
  const to = last === '' || last === undefined ? content.size - 1 : Math.min(Number(last), content.size - 1)
  if (from >= content.size || to < from) return undefined
  const headers = { 'content-range': `bytes ${from}-${to}/${content.size}` }
  return { status: 206, headers, body: sliceContent(content, from, to - from + 1) }
}
