/**
 * One instance of a function, as Lambda's runtime starts it: a fresh process that loads the bundle and takes one event
 * at a time. CODE is the folder of the bundle, HANDLER such as `index.url`; it says its port on standard output.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

type Handler = (event: unknown, context: unknown) => Promise<unknown>
type StreamingHandler = (event: unknown, stream: ServerResponse, context: unknown) => Promise<void>

const STREAMING = Symbol('streaming')
const { CODE = '', HANDLER = '' } = process.env

Object.assign(globalThis, {
  awslambda: {
    streamifyResponse: (handler: StreamingHandler) => Object.assign(handler, { [STREAMING]: true }),
    HttpResponseStream: {
      from(
        stream: ServerResponse,
        { statusCode, headers, cookies }: { statusCode: number; headers: object; cookies: string[] },
      ) {
        stream.writeHead(statusCode, { ...headers, ...(cookies.length > 0 && { 'set-cookie': cookies }) })
        return stream
      },
    },
  },
})

const [file = '', name = ''] = HANDLER.split('.')
const bundle = createRequire(import.meta.url)(join(CODE, `${file}.js`)) as Record<string, Handler | StreamingHandler>
const handler = bundle[name]
if (!handler) throw new Error(`${HANDLER} is not exported`)

async function read(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString())
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const event = await read(request)
    const untilMs = Number(request.headers['lambda-runtime-deadline-ms'])
    const context = { awsRequestId: 'local', getRemainingTimeInMillis: () => untilMs - Date.now() }
    if (handler && STREAMING in handler) return await (handler as StreamingHandler)(event, response, context)
    const result = await (handler as Handler)(event, context)
    response.end(JSON.stringify(result ?? null))
  } catch (error) {
    console.error(error)
    if (!response.headersSent) response.writeHead(502)
    response.end(JSON.stringify({ errorMessage: String(error) }))
  }
}

const server = createServer((request, response) => void answer(request, response))
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })))
