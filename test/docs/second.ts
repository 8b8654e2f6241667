/**
 * The formulas of the pages written out by a stranger: nothing of ours is used, only Node's hashes. Whoever changes one
 * of them changes the protocol.
 */
import { createHash, createHmac, createPublicKey, verify } from 'node:crypto'

const hash = (name: string, ...parts: readonly Uint8Array[]): Buffer => {
  const hasher = createHash(name)
  for (const part of parts) hasher.update(part)
  return hasher.digest()
}
export const sha256 = (...parts: readonly Uint8Array[]): Buffer => hash('sha256', ...parts)
export const sha1 = (...parts: readonly Uint8Array[]): Buffer => hash('sha1', ...parts)

/** PROTOCOL.md, "Signed objects". */
export const message = (kind: string, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`raincheck/${kind}/v1\0`), body])

export const isSigned = (text: Uint8Array, key: Uint8Array, signature: Uint8Array): boolean => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') }
  return verify(null, text, createPublicKey({ key: jwk, format: 'jwk' }), signature)
}

/** log.md, "Hashes". */
export const leaf = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry)
const node = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right)

/** RFC 6962 §2.1 */
export function treeRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length < 2) return leaves[0] ?? sha256()
  const half = 2 ** Math.floor(Math.log2(leaves.length - 1))
  return node(treeRoot(leaves.slice(0, half)), treeRoot(leaves.slice(half)))
}

/** RFC 6962 §2.1.1, nearest sibling first. */
export function rootByProof(index: number, size: number, from: Uint8Array, proof: readonly Uint8Array[]): Uint8Array {
  if (size === 1) return from
  const sibling = proof.at(-1)
  if (!sibling) throw new Error('the proof is too short')
  const half = 2 ** Math.floor(Math.log2(size - 1))
  const rest = proof.slice(0, -1)
  return index < half
    ? node(rootByProof(index, half, from, rest), sibling)
    : node(sibling, rootByProof(index - half, size - half, from, rest))
}

/** tick-chain.md, "Making links". */
const times = (from: Uint8Array, count: number): Uint8Array => (count === 0 ? from : times(sha256(from), count - 1))

export function linkOf(seed: Uint8Array, segment: number, place: number, units: number): Uint8Array {
  const index = Buffer.alloc(8)
  index.writeBigUInt64BE(BigInt(segment))
  const start = createHmac('sha256', seed).update('raincheck/payword/v1\0').update(index).digest()
  return times(start, units - place)
}

export const anchorOf = (link: Uint8Array, place: number): Uint8Array => times(link, place)

/** torrents.md, "Pieces". @param blocks leaves of the tree */
export function pieceHash(bytes: Uint8Array, blocks: number): Uint8Array {
  const leaves = Array.from({ length: blocks }, (_, i) => {
    const block = bytes.subarray(i * 16_384, (i + 1) * 16_384)
    return block.length > 0 ? sha256(block) : Buffer.alloc(32)
  })
  return fold(leaves)
}

function fold(nodes: readonly Uint8Array[]): Uint8Array {
  if (nodes.length === 1) return nodes[0] as Uint8Array
  return fold(
    Array.from({ length: nodes.length / 2 }, (_, i) =>
      sha256(nodes[2 * i] as Uint8Array, nodes[2 * i + 1] as Uint8Array),
    ),
  )
}

/** log.md, "Checkpoint". */
export function noteKeyId(name: string, key: Uint8Array): string {
  return sha256(Buffer.from(`${name}\n\x01`), key)
    .subarray(0, 4)
    .toString('hex')
}

/** ledger-rules.md, "State root". */
export function stateRoot(
  items: readonly { readonly pk: string; readonly sk: string; readonly body: Uint8Array }[],
): Uint8Array {
  const sum = Buffer.alloc(2048)
  for (const { pk, sk, body } of items) {
    const shake = createHash('shake256', { outputLength: 2048 }).update(`${pk}\0${sk}\0`).update(body).digest()
    for (let at = 0; at < 2048; at += 2) {
      sum.writeUInt16LE((sum.readUInt16LE(at) + shake.readUInt16LE(at)) % 65_536, at)
    }
  }
  return sha256(sum)
}
