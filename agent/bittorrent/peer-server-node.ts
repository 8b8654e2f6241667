/** Where stock BitTorrent clients connect. They never learn more than the agent's address, and nobody is called back. */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { concat, toHex, utf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Guard } from '../guard/guard.ts'
import type { Shares } from '../share/share.ts'
import { ANYONE, type Usage } from '../usage.ts'
import { createBlocks } from './blocks.ts'
import { servePeer, type PeerParts } from './peer.ts'
import { createSlots } from './slots.ts'

export interface PeerServerOptions {
  readonly environment: Environment
  readonly shares: Shares
  readonly guard: Guard
  readonly usage: Pick<Usage, 'served'>
  readonly hostname: string
  /** 0 for any free one. */
  readonly port: number
  readonly onFault: (error: unknown) => void
}

export interface PeerServer {
  readonly port: number
  close(): Promise<void>
}

/** BEP 20: two letters and a version, then as many random bytes as are left of 20. */
const CLIENT = utf8('-RC0100-')
const PEER_ID_BYTES = 20

/** @throws Problem `conflict` when the port is taken, RangeError for what is no port */
export async function listenForPeers(options: PeerServerOptions): Promise<PeerServer> {
  const { environment, shares, guard, usage, hostname, port, onFault } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError('BITTORRENT_PORT takes a number from 0 to 65535')
  const parts: PeerParts = {
    blocks: createBlocks(shares, guard, environment.clock),
    slots: createSlots(environment.clock),
    clock: environment.clock,
    peerId: toHex(concat(CLIENT, environment.random.bytes(PEER_ID_BYTES - CLIENT.length))),
    onSent: (bytes) => usage.served(ANYONE, bytes),
    onFault,
  }
  const sockets = new Set<Socket>()
  const from = ({ remoteAddress }: Socket): number =>
    Array.from(sockets).filter((socket) => socket.remoteAddress === remoteAddress).length
  const server = createServer({ noDelay: true }, (socket) => {
    if (from(socket) >= limits.bittorrentPeersPerAddress) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    servePeer(parts, socket)
  })
  server.maxConnections = limits.bittorrentPeers
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new Problem('conflict', `Port ${port} is taken: choose another.`) : error),
    )
    server.listen(port, hostname, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
