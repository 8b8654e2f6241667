/** The baseline's client: two lanes of ranges of 4 MiB over kept connections, written where they belong; nothing verified. */
import { openSync, writeSync } from 'node:fs'
import { Agent, get } from 'node:http'

const { PORT = '', FILE = '', BYTES = '' } = process.env
const PIECE_BYTES = 4 * 1024 * 1024
const LANES = 2
const bytes = Number(BYTES)
const file = openSync(FILE, 'w')
let next = 0

const startedMs = performance.now()
await Promise.all(Array.from({ length: LANES }, lane))
const seconds = (performance.now() - startedMs) / 1000
console.log(JSON.stringify({ seconds }))
process.once('SIGTERM', () => process.exit(0))
setInterval(() => undefined, 1000)

async function lane(): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (next < bytes) {
    const start = next
    next += PIECE_BYTES
    await range(agent, start, Math.min(start + PIECE_BYTES, bytes) - 1)
  }
  agent.destroy()
}

async function range(agent: Agent, start: number, end: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  get({ host: '127.0.0.1', port: PORT, agent, headers: { range: `bytes=${start}-${end}` } }, (response) => {
    let at = start
    response.on('data', (chunk: Buffer) => {
      writeSync(file, chunk, 0, chunk.length, at)
      at += chunk.length
    })
    response.on('end', resolve)
  }).on('error', reject)
  return promise
}
