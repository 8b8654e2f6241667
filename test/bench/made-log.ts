/** A log of any length as a ledger would have it, made entry by entry under the rules and written into a folder as tiles. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { decide, prepare } from '../../protocol/arbiter.ts'
import { attestations, isFixed, policies, type Attestation } from '../../protocol/arbiter/items.ts'
import { createReplicaOn, type Kept, type Replica } from '../../protocol/arbiter/replica.ts'
import type { CommandKind } from '../../protocol/arbiter/step.ts'
import { draft, keyText, type Key } from '../../protocol/arbiter/view.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatCheckpoint, noteKey, signNote } from '../../protocol/checkpoint.ts'
import { decode, type Bencode } from '../../protocol/encoding.ts'
import { entryHash } from '../../protocol/entry.ts'
import { append, EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'
import { encodeBundle, growTiles, tilePath, type Edge } from '../../protocol/tile.ts'
import { sha256 } from '#primitives'
import { ORIGIN, SECRET, START_MS } from '../ledger/kit.ts'
import { person, purchase, type Person } from '../ledger/people.ts'

const BUNDLE = 256
const PEOPLE = 200
const UNITS = 64
const REDEMPTIONS = 8
const BETWEEN_ATTESTATIONS = 1000

export const LOG_KEY = noteKey(ORIGIN, signerFrom(SECRET).key)

/** @param sizes at each of which the log gets a checkpoint, in the file `checkpoint.<size>`; the last is its end */
export async function makeLog(dir: string, sizes: readonly number[]): Promise<void> {
  const writer = createWriter(dir, sizes)
  const ledger = createMaker((entry) => writer.add(entry))
  const people = Array.from({ length: PEOPLE }, (_, i) => person(`person ${i}`))
  const policy = { faucet: 1_000_000_000n, key: signerFrom(SECRET).key, mergeDelay: 10_000, unitPrice: 1n }
  await ledger.add('policy', [], decode(policies.encode(policy)))
  for (const { identity } of people) await ledger.add('register', [identity])
  for (let i = 0; !writer.isDone(); i++) {
    const [payer, payee] = [people[i % PEOPLE], people[(i * 7 + 1) % PEOPLE]] as [Person, Person]
    await buy(ledger, payer, payee, i)
  }
}

interface Maker {
  add(kind: CommandKind, parts: readonly Envelope[], data?: Bencode): Promise<void>
  /** What is over is touched no more: its items are let go, and stay in the sum. */
  forget(...families: readonly string[]): void
}

/** Twelve entries: eight of them redemptions. */
async function buy(ledger: Maker, payer: Person, payee: Person, number: number): Promise<void> {
  const nonce = sha256(utf8(`purchase ${number}`)).slice(0, 16)
  const bought = purchase(payer, { nonce, units: UNITS, segment: UNITS })
  const lane = bought.lane(payee, { segments: 1, cap: UNITS })
  await ledger.add('declare', [bought.declaration])
  await ledger.add('claim', [lane.commitment, lane.claim])
  for (let i = 1; i <= REDEMPTIONS; i++) await ledger.add('redeem', [lane.redeem((UNITS / REDEMPTIONS) * i)])
  await ledger.add('release', [lane.release(payee)])
  await ledger.add('release', [bought.release()])
  ledger.forget('declaration', 'lane', 'segments', 'accepted')
}

function createMaker(write: (entry: Bytes) => void): Maker {
  const items = new Map<string, Kept>()
  const replica = createReplicaOn({ items: itemsIn(items), past: createPast() })
  let nowMs = START_MS
  let attested = 0

  async function append(kind: CommandKind, parts: readonly Envelope[], data?: Bencode): Promise<void> {
    nowMs += 1
    const view = draft(async (key) => items.get(keyText(key)), isFixed)
    const outcome = await decide(view, prepare({ kind, parts, ...(data !== undefined && { data }) }), nowMs)
    if (outcome.kind !== 'accepted') throw new Error(`${kind} is a repeat`)
    await replica.apply(outcome.bytes)
    write(outcome.bytes)
  }

  return {
    async add(kind, parts, data) {
      await append(kind, parts, data)
      if (replica.size() - attested < BETWEEN_ATTESTATIONS) return
      attested = replica.size()
      await append('state', [], await attestation(replica))
    },
    forget(...families) {
      for (const text of items.keys()) if (families.includes(text.split('/', 1)[0] ?? '')) items.delete(text)
    },
  }
}

const attestation = async (replica: Replica): Promise<Bencode> =>
  decode(attestations.encode(await replica.attestationAt(replica.size())))

const itemsIn = (items: Map<string, Kept>) => ({
  get: async (key: Key) => items.get(keyText(key)),
  put(key: Key, item: Kept | undefined) {
    if (item) items.set(keyText(key), item)
    else items.delete(keyText(key))
  },
})

function createPast() {
  let kept: Attestation[] = []
  return {
    at: async (size: number) => kept.find((one) => one.size === size),
    keep: (one: Attestation) => void kept.push(one),
    forget: (before: number) => void (kept = kept.filter(({ size }) => size >= before)),
  }
}

function createWriter(dir: string, sizes: readonly number[]) {
  let frontier = EMPTY_FRONTIER
  let edge: Edge = []
  let entries: Bytes[] = []
  const ends = new Set(sizes)
  const last = Math.max(...sizes)

  function put(path: string, body: Bytes | string): void {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), body)
  }

  /** Of the entries since the last full bundle; kept for good when they fill one. */
  function flush(): void {
    const index = Math.floor(frontier.size / BUNDLE)
    const hashes = entries.map(entryHash)
    const grown = growTiles(edge, frontier.size, hashes)
    for (const { tile, bytes } of grown.tiles) put(tilePath(tile), bytes)
    put(tilePath({ level: 'entries', index, width: entries.length }), encodeBundle(entries))
    const tree = append(frontier, hashes)
    if (ends.has(tree.size)) {
      const text = formatCheckpoint({ origin: ORIGIN, size: tree.size, rootHash: frontierRoot(tree) })
      put(`checkpoint.${tree.size}`, signNote(text, { name: ORIGIN, signer: signerFrom(SECRET) }))
    }
    if (entries.length < BUNDLE) return
    frontier = tree
    edge = grown.edge
    entries = []
  }

  return {
    isDone: () => frontier.size + entries.length >= last,
    add(entry: Bytes): void {
      if (frontier.size + entries.length >= last) return
      entries.push(entry)
      if (entries.length === BUNDLE || ends.has(frontier.size + entries.length)) flush()
    },
  }
}
