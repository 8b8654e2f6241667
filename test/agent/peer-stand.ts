/** An agent's shop that stock BitTorrent clients connect to. */
import { listenForPeers } from '../../agent/bittorrent/peer-server-node.ts'
import { createGuard, type Guard } from '../../agent/guard/guard.ts'
import type { Share } from '../../agent/share/share.ts'
import { createUsage, type Usage } from '../../agent/usage.ts'
import { pattern } from '../pattern.ts'
import { MiB, openShop, type Shop } from './shop.ts'
import * as stock from './stock-client.ts'

export interface PeerStand {
  readonly shop: Shop
  readonly guard: Guard
  readonly usage: Usage
  readonly connect: () => Promise<stock.StockClient>
  /** Past the handshake. */
  readonly greeted: (share: Share, how?: { fast?: boolean }) => Promise<stock.StockClient>
  /** It has a slot. */
  readonly served: (share: Share) => Promise<stock.StockClient>
  readonly share: (name: string, bytes: Uint8Array, free?: boolean) => Promise<Share>
  /** Two pieces. */
  readonly aFile: () => Promise<Share>
  readonly close: () => Promise<void>
}

/** Nothing that comes from outside is a fault of ours. */
const rethrow = (fault: unknown): never => {
  throw fault as Error
}

export async function openPeerStand(): Promise<PeerStand> {
  const shop = await openShop()
  const guard = createGuard(shop.context)
  const usage = createUsage(shop.context)
  const { environment } = shop.context
  const parts = { environment, shares: shop.shares, guard, usage, onFault: rethrow }
  const server = await listenForPeers({ ...parts, hostname: '127.0.0.1', port: 0 })
  const clients: stock.StockClient[] = []

  async function connect(): Promise<stock.StockClient> {
    const client = await stock.connectStock(server.port)
    clients.push(client)
    return client
  }

  const greeted: PeerStand['greeted'] = async (share, { fast = true } = {}) => {
    const client = await connect()
    client.write(stock.handshake(share.meta.infoHashV1, fast))
    await client.next(-1)
    return client
  }

  async function share(name: string, bytes: Uint8Array, free = true): Promise<Share> {
    await shop.plant(name, bytes)
    return shop.shares.add({ link: 'folder', path: name, ...(free ? { public: true } : { price: 3n }) })
  }

  return {
    shop,
    guard,
    usage,
    connect,
    greeted,
    async served(of) {
      const client = await greeted(of)
      client.send(stock.INTERESTED)
      await client.next(stock.UNCHOKE)
      return client
    },
    share,
    aFile: () => share('film.bin', pattern(5 * MiB + 7)),
    async close() {
      for (const client of clients) client.close()
      await server.close()
      await shop.close()
    },
  }
}
