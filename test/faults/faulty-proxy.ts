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
  setFaults(faultOf: FaultOf): void
  stop(): Promise<void>
}

type FaultOf = (headers: IncomingMessage['headers'], body: Buffer) => Fault | undefined | Promise<Fault | undefined>

export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  let faultOf: FaultOf = () => undefined
  let requests = 0
  const late: (() => Promise<Answer>)[] = []

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests += 1
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const fault = await faultOf(request.headers, body)
    const pass = () => ask(target, request, body)
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

async function ask(
  target: string,
  { method = 'GET', url = '/', headers }: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const names = Object.keys(headers).filter((name) => /^(?:x-amz-|authorization|content-type)/.test(name))
  const passed = Object.fromEntries(names.map((name) => [name, String(headers[name])]))
  const answer = await fetch(new URL(url, target), { method, headers: passed, body: new Uint8Array(body) })
  const { status } = answer
  return { status, headers: Object.fromEntries(answer.headers), body: Buffer.from(await answer.arrayBuffer()) }
}

const reply = (response: ServerResponse, { status, headers, body }: Answer): void =>
  void response.writeHead(status, { ...headers, 'content-length': body.length }).end(body)

function cut(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { ...headers, 'content-length': body.length })
  response.write(body.subarray(0, body.length - 1), () => response.destroy())
}
