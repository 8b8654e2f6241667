/**
 * Magnet links (BEP 9, BEP 52): `xt=urn:btih:` the v1 info hash, `xt=urn:btmh:1220` the v2 one, `dn` the name. Other
 * parameters are ignored when read: sellers are found through repositories. `tr` names a tracker to stock clients, `ws` a web
 * seed (BEP 19).
 *
 * @example magnet:?xt=urn:btih:631a…42ac&xt=urn:btmh:1220d8dd…fabb&dn=photos
 */
import { fromHex, toHex, type Bytes } from './bytes.ts'
import { Problem } from './problem.ts'

export interface Magnet {
  /** v2, 32 bytes. */
  readonly infoHash?: Bytes
  /** v1, 20 bytes. */
  readonly infoHashV1?: Bytes
  readonly name?: string
  /** URL. */
  readonly tracker?: string
  /** URL. */
  readonly webSeed?: string
}

const PREFIX = 'magnet:?'
const MAX_CHARACTERS = 16 * 1024
const V1_HEX = /^urn:btih:([0-9a-f]{40})$/i
const V1_BASE32 = /^urn:btih:([a-z2-7]{32})$/i
/** 12 20: the multihash of a SHA-256. */
const V2_HEX = /^urn:btmh:1220([0-9a-f]{64})$/i

export function formatMagnet({ infoHash, infoHashV1, name, tracker, webSeed }: Magnet): string {
  const parts = [
    infoHashV1 && `xt=urn:btih:${toHex(infoHashV1)}`,
    infoHash && `xt=urn:btmh:1220${toHex(infoHash)}`,
    name !== undefined && `dn=${encodeURIComponent(name)}`,
    tracker !== undefined && `tr=${encodeURIComponent(tracker)}`,
    webSeed !== undefined && `ws=${encodeURIComponent(webSeed)}`,
  ]
  return PREFIX + parts.filter(Boolean).join('&')
}

/** @throws Problem `bad-encoding` unless it is a magnet link that names a torrent by one hash a version at most */
export function parseMagnet(text: string): Magnet {
  if (text.length > MAX_CHARACTERS || !text.toLowerCase().startsWith(PREFIX)) refuse('This is no magnet link.')
  const parameters = new URLSearchParams(text.slice(PREFIX.length))
  const topics = parameters.getAll('xt')
  const v1 = onlyOne([...hexTopics(topics, V1_HEX), ...base32Topics(topics)])
  const v2 = onlyOne(hexTopics(topics, V2_HEX))
  if (!v1 && !v2) refuse('The magnet link names no torrent.')
  const name = parameters.get('dn')
  return { ...(v2 && { infoHash: v2 }), ...(v1 && { infoHashV1: v1 }), ...(name !== null && { name }) }
}

function hexTopics(topics: readonly string[], form: RegExp): Bytes[] {
  return topics.flatMap((topic) => {
    const hex = form.exec(topic)?.[1]
    return hex === undefined ? [] : [fromHex(hex.toLowerCase())]
  })
}

function base32Topics(topics: readonly string[]): Bytes[] {
  return topics.flatMap((topic) => {
    const base32 = V1_BASE32.exec(topic)?.[1]
    return base32 === undefined ? [] : [fromBase32(base32.toLowerCase())]
  })
}

/** RFC 4648 §6; 32 characters of 5 bits are 20 bytes exactly. */
function fromBase32(text: string): Bytes {
  const bits = Array.from(text, (digit) =>
    'abcdefghijklmnopqrstuvwxyz234567'.indexOf(digit).toString(2).padStart(5, '0'),
  )
  const bytes = bits.join('').match(/.{8}/g) ?? []
  return Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 2))
}

function onlyOne(hashes: readonly Bytes[]): Bytes | undefined {
  if (hashes.length > 1) refuse('The magnet link names several torrents.')
  return hashes[0]
}

function refuse(detail: string): never {
  throw new Problem('bad-encoding', detail)
}
