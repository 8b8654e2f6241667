/**
 * Where everything lies in the store. Ids and hashes are hex; numbers are padded, so that they are listed in their order.
 *
 * | pk | sk | what |
 * |---|---|---|
 * | identity/ID | log | operation log |
 * | book/ID | head | the newest head; which run of vouches is its own |
 * | book/ID | proof | two heads under one number, both signed by the owner |
 * | equivocations | last | of whom there is a proof since the last time |
 * | book/ID | vouches/RUN/N | the vouches, a thousand an item |
 * | log | head, key, published | the log's last checkpoint and tree; its key, where none is given; the checkpoint with its witnesses' words |
 * | log/entries/BUNDLE, log/tile/LEVEL | INDEX | entries of the log, and tiles of their hashes |
 * | log | source | the repository that a mirror follows |
 * | prune | ID | an id that the repository no longer stands by |
 * | notice/ID | BY/SUBJECT | what a voucher was told of a distrust |
 * | editions/ID | head, n/NUMBER | the newest editions of an owner, and where they end |
 * | content/HASH | head | what a content is; which run of items is its own |
 * | content/HASH | torrent/RUN/N, files/RUN/FIRST, hashes/RUN/N, leaves/RUN/FILE/UNIT | its bytes, files, piece hashes, 16 KiB hashes |
 * | content-v1/HASH | v2 | its v2 info hash |
 * | swarm/HASH | ID | the newest announcement of an owner, or its withdrawal |
 * | live/HASH | EXPIRES/ID/ISSUED | the same announcement, unless it is a withdrawal: those that are over come before all others |
 * | owner/ID | announcements | how many of those there are |
 * | word/LETTER | WORD/HASH | the contents that have a word in their name |
 * | due/H | TIME/swarm/HASH/ID, TIME/content/HASH/RUN | what to look at when its time comes; H is a hash's first digit |
 *
 * A *run* groups the items of one upload: they are written before the head that names them, and a reader goes by the head.
 */
import { toHex, type Bytes } from '../protocol/bytes.ts'

const TIME_DIGITS = 16
const NUMBER_DIGITS = 8

export const padded = (number: number, digits = NUMBER_DIGITS): string => String(number).padStart(digits, '0')
export const paddedTime = (ms: number): string => padded(ms, TIME_DIGITS)

export const identityKey = (id: Uint8Array): string => `identity/${toHex(id)}`
export const bookKey = (id: Uint8Array): string => `book/${toHex(id)}`
export const noticeKey = (id: Uint8Array): string => `notice/${toHex(id)}`
export const editionsKey = (id: Uint8Array): string => `editions/${toHex(id)}`
export const contentKey = (infoHash: string): string => `content/${infoHash}`
export const contentV1Key = (infoHashV1: string): string => `content-v1/${infoHashV1}`
export const swarmKey = (infoHash: string): string => `swarm/${infoHash}`
export const liveKey = (infoHash: string): string => `live/${infoHash}`
export const liveOffer = (expires: number, owner: string, issued: number): string =>
  `${paddedTime(expires)}/${owner}/${paddedTime(issued)}`
export const ownerKey = (id: string): string => `owner/${id}`
export const wordKey = (letter: string): string => `word/${letter}`

const HEX_DIGITS = '0123456789abcdef'
/** Spread over several keys, so that no single one is written by everybody. */
export const DUE_KEYS: readonly string[] = Array.from(HEX_DIGITS, (digit) => `due/${digit}`)
export const dueKey = (infoHash: string): string => `due/${infoHash[0]}`
export const dueSwarm = (atMs: number, infoHash: string, owner: string): string =>
  `${paddedTime(atMs)}/swarm/${infoHash}/${owner}`
export const dueContent = (atMs: number, infoHash: string, run: string): string =>
  `${paddedTime(atMs)}/content/${infoHash}/${run}`

export type Due =
  | { readonly atMs: number; readonly kind: 'swarm'; readonly infoHash: string; readonly owner: string }
  | { readonly atMs: number; readonly kind: 'content'; readonly infoHash: string; readonly run: string }

/** Reads a sort key of `due/H`. */
export function dueOf(sk: string): Due {
  const [time = '', kind, infoHash = '', rest = ''] = sk.split('/')
  const atMs = Number(time)
  return kind === 'swarm' ? { atMs, kind, infoHash, owner: rest } : { atMs, kind: 'content', infoHash, run: rest }
}

/** The body of items that are all key. */
export const EMPTY: Bytes = new Uint8Array(0)
