/** The baseline's server: ranges of one file over `node:http`. */
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const file = process.env['FILE'] ?? ''
const server = createServer((request, response) => {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const [first, last] = [Number(start), Number(end)]
  response.writeHead(206, { 'content-length': last - first + 1, 'content-type': 'application/octet-stream' })
  createReadStream(file, { start: first, end: last, highWaterMark: 1024 * 1024 }).pipe(response)
})
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port }))
})
process.once('SIGTERM', () => process.exit(0))
