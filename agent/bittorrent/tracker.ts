/**
 * A tracker (BEP 3, BEP 23) of what this agent shares free of charge. It names the agent and nobody else: who asks is
 * neither kept nor told to others.
 */
import { lookup } from 'node:dns/promises'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { encode, type Encodable } from '../../protocol/encoding.ts'
import { isForAll, type Shares } from '../share/share.ts'

export interface TrackerOptions {
  /** Where stock clients reach the agent. */
  readonly host: string
  readonly port: number
}

export const TRACKER_PATH = '/announce'

const INTERVAL_SECONDS = 1800
const INFO_HASH_BYTES = 20
const ADDRESS_BYTES = 4

export function mountTracker(app: OpenAPIHono, shares: Pick<Shares, 'get'>, { host, port }: TrackerOptions): void {
  app.get(TRACKER_PATH, async (c) => {
    const infoHash = infoHashIn(new URL(c.req.url).search)
    const share = infoHash && (await shares.get(toHex(infoHash)))
    const reply = share && isForAll(share) ? await peerAt(host, port) : refusal(NOT_FREE)
    // Clients read the body, whatever its type.
    return c.body(encode(reply), 200, { 'content-type': 'text/plain' })
  })
}

const NOT_FREE = 'This content is not shared here free of charge.'
const refusal = (reason: string): Encodable => ({ 'failure reason': reason })

async function peerAt(host: string, port: number): Promise<Encodable> {
  try {
    const peers = await compact(host, port)
    return { complete: 1, incomplete: 0, interval: INTERVAL_SECONDS, peers }
  } catch {
    return refusal(`The name ${host} leads to no address of IPv4 now.`)
  }
}

/** Bytes, each as it is or as `%` and two digits: no text in any encoding. */
function infoHashIn(search: string): Bytes | undefined {
  const [, escaped] = /[?&]info_hash=([^&]*)/.exec(search) ?? []
  const bytes = Array.from(escaped?.matchAll(/%([0-9a-f]{2})|[\s\S]/gi) ?? [], ([one, digits]) =>
    digits === undefined ? one.charCodeAt(0) : Number.parseInt(digits, 16),
  )
  return bytes.length === INFO_HASH_BYTES ? Uint8Array.from(bytes) : undefined
}

/** Address and port, big-endian. An agent's address may change while its name stays. */
async function compact(host: string, port: number): Promise<Bytes> {
  const { address } = await lookup(host, { family: 4 })
  const bytes = new Uint8Array(ADDRESS_BYTES + 2)
  bytes.set(address.split('.').map(Number))
  new DataView(bytes.buffer).setUint16(ADDRESS_BYTES, port)
  return bytes
}
