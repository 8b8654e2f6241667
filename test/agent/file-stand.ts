/** An agent's shop from which files are had by HTTP, on Node and wherever else. */
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { mountFiles, sendFileCopy, type SendFile } from '../../agent/api/files-api.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createGuard, type Guard } from '../../agent/guard/guard.ts'
import { sendFileNode } from '../../agent/sell/file-server-node.ts'
import { createSeller } from '../../agent/sell/sell.ts'
import type { Share, Shares } from '../../agent/share/share.ts'
import type { Trust } from '../../agent/trust/trust.ts'
import { createUsage, type Usage } from '../../agent/usage.ts'
import { listen } from '../../infra/serve.ts'
import { createService } from '../../protocol/service.ts'
import { openShop, type Shop } from './shop.ts'

export const SENDERS: Readonly<Record<string, SendFile>> = {
  'on Node': sendFileNode,
  'wherever else': sendFileCopy,
}

export interface FileStand {
  readonly shop: Shop
  readonly guard: Guard
  readonly usage: Usage
  readonly url: string
  /** What was read of the owner's storage, in bytes. */
  readonly reads: number[]
  /** Faults of ours that were told. */
  readonly faults: readonly unknown[]
  /** Comes before each read. */
  beforeRead: (read: number) => Promise<void>
  readonly share: (name: string, bytes: Uint8Array, terms?: { price: bigint } | { circle: string }) => Promise<Share>
  /** @param path below the info hash, as it is */
  readonly get: (of: Pick<Share, 'infoHash'>, path: string, headers?: Record<string, string>) => Promise<Response>
  readonly head: (of: Pick<Share, 'infoHash'>, path: string, headers?: Record<string, string>) => Promise<Response>
  /** The status and the body; the path is sent as it is, whatever is in it. */
  readonly raw: (path: string) => Promise<readonly [status: number | undefined, body: string]>
  /** A reader that takes nothing of what it is being sent. */
  readonly stalled: (of: Pick<Share, 'infoHash'>, path: string) => Promise<Socket>
  readonly close: () => Promise<void>
}

export async function openFileStand(
  sendFile: SendFile = sendFileNode,
  options: Pick<AgentContext, 'answerBytes'> = {},
): Promise<FileStand> {
  const shop = await openShop()
  const guard = createGuard(shop.context)
  const usage = createUsage(shop.context)
  const reads: number[] = []
  const faults: unknown[] = []
  const shares: Shares = {
    ...shop.shares,
    async readPiece(share, index, into, within) {
      await stand.beforeRead(reads.length)
      reads.push(into?.length ?? 0)
      return shop.shares.readPiece(share, index, into, within)
    },
  }
  const seller = createSeller(shop.context, { shares, trust: {} as Trust, usage, guard })
  const app = createService({ title: 'seller', description: '' })
  const context = { ...shop.context, ...options, bittorrent: { host: 'agent.test', port: 6881 } }
  mountFiles(app, { context, seller, shares, guard, sendFile, onFault: (fault) => faults.push(fault) })
  const server = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  const url = `http://127.0.0.1:${server.port}`
  async function ask(method: string, infoHash: string, path: string, headers: Record<string, string>) {
    const [place, how] = [`/v1/files/${infoHash}/${path}`, { method, headers }]
    return sendFile === sendFileNode ? fetch(url + place, how) : app.request(place, how)
  }

  const stand: FileStand = {
    shop,
    guard,
    usage,
    url,
    reads,
    faults,
    beforeRead: async () => undefined,
    async share(name, bytes, terms) {
      await shop.plant(name, bytes)
      return shop.shares.add({
        link: 'folder',
        path: name,
        public: true,
        ...terms,
        ...(terms && 'price' in terms && { public: false }),
      })
    },
    get: ({ infoHash }, path, headers = {}) => ask('GET', infoHash, path, headers),
    head: ({ infoHash }, path, headers = {}) => ask('HEAD', infoHash, path, headers),
    async raw(path) {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
      request(url, { path, agent: false }, resolve).once('error', reject).end()
      const reply = await promise
      return [reply.statusCode, await text(reply)]
    },
    async stalled({ infoHash }, path) {
      const socket = connect(server.port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(`GET /v1/files/${infoHash}/${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
      await once(socket, 'readable')
      return socket
    },
    async close() {
      await server.close()
      await shop.close()
    },
  }
  return stand
}

export const bytesOf = async (response: Response): Promise<Uint8Array> => new Uint8Array(await response.arrayBuffer())
