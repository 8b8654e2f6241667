/** Free ports for networks that run beside other tests. */
import { createServer, type Server } from 'node:net'

/** A network's own and the three after it. */
const COUNT = 4
/** Below those that the system hands out to connections. */
const [FIRST, LAST] = [20_000, 31_000]

/** @returns the first of four free ports in a row, each worker looking in a place of its own */
export async function freePort(): Promise<number> {
  const worker = Number(process.env['VITEST_POOL_ID'] ?? 0)
  for (;;) {
    const spot = Math.floor(Math.random() * ((LAST - FIRST) / COUNT / 8)) * 8 + (worker % 8)
    const port = FIRST + spot * COUNT
    if (await areFree(port)) return port
  }
}

async function areFree(first: number): Promise<boolean> {
  const tries = await Promise.allSettled(Array.from({ length: COUNT }, (_, i) => listen(first + i)))
  const servers = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  await Promise.all(servers.map(close))
  return servers.length === COUNT
}

export function listen(port: number): Promise<Server> {
  const { promise, resolve, reject } = Promise.withResolvers<Server>()
  const server = createServer().once('error', reject)
  server.listen(port, '127.0.0.1', () => resolve(server))
  return promise
}

export const close = (server: Server): Promise<void> => new Promise((resolve) => void server.close(() => resolve()))
