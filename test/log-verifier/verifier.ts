/**
 * A verifier of logs, written from the C2SP specifications alone (signed-note, tlog-checkpoint, tlog-tiles; RFC 6962 for
 * the hashes). It shares no code with the project: what it accepts, any client of these specifications accepts.
 */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'

/** The bytes at a path under the log's prefix, such as `checkpoint` or `tile/0/000`; undefined for none. */
export type Read = (path: string) => Promise<Buffer | undefined>

export interface Verified {
  readonly origin: string
  readonly size: number
  /** base64 */
  readonly root: string
  readonly entries: number
}

export interface Options {
  readonly read: Read
  /** `<name>+<id in hex>+<base64 of 0x01 and the key>` (signed-note). */
  readonly vkey: string
  /** The name of the log that is wanted. */
  readonly origin: string
  /** A checkpoint that the log was seen to have before: the log must go on from it. */
  readonly earlier?: string
}

export class Rejected extends Error {}

const reject = (why: string): never => {
  throw new Rejected(why)
}

const sha256 = (...parts: readonly (Buffer | string)[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

const LEAF = Buffer.from([0])
const NODE = Buffer.from([1])
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

interface Key {
  readonly name: string
  readonly id: Buffer
  readonly key: KeyObject
}

/** signed-note, "Signatures" and "Ed25519 signatures". */
function parseVkey(vkey: string): Key {
  const [, name = '', hex = '', encoded = ''] =
    /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(vkey) ?? reject('the vkey is malformed')
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.length !== 33 || bytes[0] !== 1) reject('the vkey is not of ed25519')
  const id = sha256(`${name}\n`, bytes).subarray(0, 4)
  if (id.toString('hex') !== hex) reject('the id of the vkey is not that of its key')
  return {
    name,
    id,
    key: createPublicKey({ key: Buffer.concat([SPKI, bytes.subarray(1)]), format: 'der', type: 'spki' }),
  }
}

interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

/** signed-note, "Format"; tlog-checkpoint, "Note text". */
function openCheckpoint(note: string, key: Key): Checkpoint {
  const blank = note.lastIndexOf('\n\n')
  if (blank < 0 || !note.endsWith('\n')) reject('the checkpoint is no signed note')
  const text = note.slice(0, blank + 1)
  if (Array.from(text).some((character) => character < ' ' && character !== '\n'))
    reject('the note holds control characters')
  const signed = note
    .slice(blank + 2, -1)
    .split('\n')
    .filter((line) => isSigned(line, text, key))
  if (signed.length === 0) reject('the log has not signed the checkpoint')
  const [origin = '', size = '', root = '', ...rest] = text.split('\n')
  if (origin === '' || !/^(0|[1-9][0-9]*)$/.test(size)) reject('the checkpoint is malformed')
  if (rest.slice(0, -1).includes('')) reject('an extension line is empty')
  const hash = Buffer.from(root, 'base64')
  if (hash.length !== 32 || hash.toString('base64') !== root) reject('the root hash is malformed')
  return { origin, size: Number(size), root: hash }
}

function isSigned(line: string, text: string, { name, id, key }: Key): boolean {
  const [dash, by, encoded = '', ...rest] = line.split(' ')
  const bytes = Buffer.from(encoded, 'base64')
  if (dash !== '\u2014' || rest.length > 0 || bytes.length < 5) reject('a signature line is malformed')
  if (by !== name || !bytes.subarray(0, 4).equals(id)) return false
  return verify(null, Buffer.from(text), key, bytes.subarray(4)) || reject('the signature of the log does not verify')
}

/** tlog-tiles, "Merkle Tree": `x001/x234/067`. */
function tilePath(level: number | 'entries', index: number, width: number): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0')
  const groups = digits.match(/.{3}/g) ?? []
  const path = groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join('/')
  return `tile/${level}/${path}${width === 256 ? '' : `.p/${width}`}`
}

/** MTH of leaves or nodes of one level, as many as fill perfect trees or not (RFC 6962, 2.1). */
function treeHash(hashes: readonly Buffer[]): Buffer {
  if (hashes.length === 0) return sha256('')
  let level = [...hashes]
  while (level.length > 1) {
    const next: Buffer[] = []
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Buffer, level[i + 1]]
      // The last of an odd number is the root of the right part as it stands.
      next.push(right ? sha256(NODE, left, right) : left)
    }
    level = next
  }
  return level[0] as Buffer
}

/** tlog-tiles, "Log entries". */
function splitBundle(bundle: Buffer, width: number, path: string): Buffer[] {
  const entries: Buffer[] = []
  let at = 0
  while (at < bundle.length) {
    if (at + 2 > bundle.length) reject(`${path} ends within a length`)
    const end = at + 2 + bundle.readUInt16BE(at)
    if (end > bundle.length) reject(`${path} ends within an entry`)
    entries.push(bundle.subarray(at + 2, end))
    at = end
  }
  if (entries.length !== width) reject(`${path} holds ${entries.length} entries, not ${width}`)
  return entries
}

/** Checks the whole log up to its checkpoint. @throws Rejected, and says why */
export async function verifyLog({ read, vkey, origin, earlier }: Options): Promise<Verified> {
  const key = parseVkey(vkey)
  const fetch = async (path: string): Promise<Buffer> => (await read(path)) ?? reject(`${path} is not there`)
  const checkpoint = openCheckpoint((await fetch('checkpoint')).toString('utf8'), key)
  if (checkpoint.origin !== origin) reject(`the checkpoint is of ${checkpoint.origin}, not of ${origin}`)
  const leaves = await readLeaves(fetch, checkpoint.size)
  await checkTiles(fetch, leaves)
  if (!treeHash(leaves).equals(checkpoint.root)) reject('the entries do not add up to the root hash')
  if (earlier !== undefined) checkEarlier(openCheckpoint(earlier, key), checkpoint, leaves)
  return { origin, size: checkpoint.size, root: checkpoint.root.toString('base64'), entries: leaves.length }
}

async function readLeaves(fetch: (path: string) => Promise<Buffer>, size: number): Promise<Buffer[]> {
  const leaves: Buffer[] = []
  for (let index = 0; index * 256 < size; index++) {
    const width = Math.min(256, size - index * 256)
    const path = tilePath('entries', index, width)
    leaves.push(...splitBundle(await fetch(path), width, path).map((entry) => sha256(LEAF, entry)))
  }
  return leaves
}

/** Every tile of every level, full and partial: each hash above is that of a full tile below. */
async function checkTiles(fetch: (path: string) => Promise<Buffer>, leaves: readonly Buffer[]): Promise<void> {
  let hashes = leaves
  for (let level = 0; hashes.length > 0; level++) {
    const above: Buffer[] = []
    for (let index = 0; index * 256 < hashes.length; index++) {
      const row = hashes.slice(index * 256, (index + 1) * 256)
      const path = tilePath(level, index, row.length)
      if (!(await fetch(path)).equals(Buffer.concat(row))) reject(`${path} does not hold the hashes below it`)
      if (row.length === 256) above.push(treeHash(row))
    }
    hashes = above
  }
}

function checkEarlier(earlier: Checkpoint, now: Checkpoint, leaves: readonly Buffer[]): void {
  if (earlier.origin !== now.origin) reject(`the earlier checkpoint is of ${earlier.origin}`)
  if (earlier.size > now.size) reject(`the log had ${earlier.size} entries, and has ${now.size}`)
  if (!treeHash(leaves.slice(0, earlier.size)).equals(earlier.root))
    reject(`the log does not go on from its checkpoint of ${earlier.size} entries`)
}
