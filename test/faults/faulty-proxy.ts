/** An HTTP proxy that loses, delays and refuses what passes it, as told. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a service answers. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export type Fault =
  /** Hung up on before it gets there. */
  | 'reset'
  /** Done, and hung up on in place of the answer, or in the middle of it. */
  | 'dropped'
  | 'cut'
  /** Done, and never answered. */
  | 'silent'
  /** Never answered, and done after the next one. */
  | 'late'
  /** Done, but answered with this. */
  | { readonly done: Answer }
  /** Not done, and answered with this. */
  | { readonly refused: Answer }

export interface FaultyProxy {
  readonly url: string
  /** Requests seen so far. */
  requests(): number
  /** What happens to each request from now on; what this does itself comes before. */
  setFaults(faultOf: (headers: IncomingMessage['headers']) => Fault | undefined | Promise<Fault | undefined>): void
  stop(): Promise<void>
}

type Faults = Parameters<FaultyProxy['setFaults']>[0]

export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  let faultOf: Faults = () => undefined
  let requests = 0
  const late: (() => Promise<Answer>)[] = []

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests += 1
    const pass = await passing(target, request)
    const fault = await faultOf(request.headers)
    if (fault === 'late') return void late.push(pass)
    if (fault === 'reset') return void response.destroy()
    if (typeof fault === 'object' && 'refused' in fault) return reply(response, fault.refused)
    const answer = await pass()
    for (const passLate of late.splice(0)) await passLate()
    if (typeof fault === 'object') reply(response, fault.done)
    else if (fault === 'dropped') response.destroy()
    else if (fault === 'cut') cut(response, answer)
    else if (fault === undefined) reply(response, answer)
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    setFaults: (next) => void (faultOf = next),
    async stop() {
      server.close().closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Sends the request on, once the sender has sent all of it. */
async function passing(target: string, request: IncomingMessage): Promise<() => Promise<Answer>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const names = Object.keys(request.headers).filter((name) => /^(?:x-amz-|authorization|content-type)/.test(name))
  const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name])]))
  return async () => {
    const url = new URL(request.url ?? '/', target)
    const answer = await fetch(url, { method: request.method ?? 'GET', headers, body: Buffer.concat(chunks) })
    const { status } = answer
    return { status, headers: Object.fromEntries(answer.headers), body: Buffer.from(await answer.arrayBuffer()) }
  }
}

const reply = (response: ServerResponse, { status, headers, body }: Answer): void =>
  void response.writeHead(status, { ...headers, 'content-length': body.length }).end(body)

function cut(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { ...headers, 'content-length': body.length })
  response.write(body.subarray(0, body.length - 1), () => response.destroy())
}
