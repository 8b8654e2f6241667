/**
 * The repository's log as this agent has seen it: followed entry by entry, so that what was revoked, and which keys changed,
 * is known whatever the repository then shows; its own keys are believed once. What it is caught at is kept, with what
 * proves it.
 */
import { readRecord } from '../../protocol/book-log.ts'
import { fromBase64url, fromHex, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { isFork, type Fork } from '../../protocol/breach.ts'
import { openNote, parseVerifierKey } from '../../protocol/checkpoint.ts'
import {
  consistencyOf,
  followLog,
  frontierAt,
  isSplitView,
  readSeen,
  type LogKeys,
  type SeenCheckpoint,
} from '../../protocol/follow-log.ts'
import { identityOf, isInForce, parseOperation, type IdentityState } from '../../protocol/identity.ts'
import { readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { requireWitnessed, witnessedMs } from '../../protocol/log-policy.ts'
import { inclusionSpans, leafHash, readSpans, type Frontier } from '../../protocol/merkle.ts'
import { unlessBug } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeToJson, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { tileNodeReader, tilePath } from '../../protocol/tile.ts'
import { parseHead, readHead, renewsOlder, type BookHead, type SignedHead } from '../../protocol/vouch.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

/** What the repository was caught at; the members prove it to whoever has its key. */
export type RepositoryBreach =
  /** Two checkpoints of which one does not go on from the other. */
  | Fork
  /** Two that cannot both have been the newest when it says. */
  | { readonly kind: 'split-view'; readonly notes: readonly [string, string] }
  /** It showed a book, or keys, that its own log has newer ones of: the entry, and its inclusion in the checkpoint. */
  | {
      readonly kind: 'hidden-revocation'
      /** The head of the book, or the last of the operations. */
      readonly shown: EnvelopeJson
      readonly note: string
      readonly index: number
      /** base64url each. */
      readonly entry: string
      readonly proof: readonly string[]
    }
  /** It said that a book is in its log, and the checkpoint that came later is of a log without it. */
  | { readonly kind: 'dropped-book'; readonly receipt: EnvelopeJson; readonly note: string }

export interface LogView {
  /** As far as the repository answers: that it does not is no error. */
  refresh(): Promise<void>
  /** How long ago the last checkpoint was the newest; Infinity before the first, and after a split view. */
  ageMs(): Promise<number>
  /** The newest checkpoint seen, to be compared by others. */
  note(): Promise<string | undefined>
  /** Another's view of the same log: two that cannot both be true are a breach. @throws Problem when it is none of this log */
  compare(note: string): Promise<void>
  /**
   * Whether the log has a newer book of the issuer, of which a repository that showed this one hid it; or this one renews
   * an older one than that, whatever its number.
   */
  isRevoked(book: SignedHead, shownByRepository: boolean): Promise<boolean>
  /** Whether the log has later keys of somebody than are shown; a repository that showed these hid the later. */
  isOutdated(shown: IdentityState, shownByRepository: boolean): Promise<boolean>
  /** A book of the owner's was taken: the log has to have it. */
  expect(receipt: Envelope): Promise<void>
  breaches(): Promise<readonly RepositoryBreach[]>
  /** Ids in hex that the repository says it no longer stands by. */
  pruned(): Promise<readonly string[]>
}

interface Kept {
  readonly keys: LogKeys
  readonly id: string
  readonly note: string
  readonly size: number
  /** Hex. */
  readonly peaks: readonly string[]
  readonly timeMs: number
  readonly isSplit: boolean
  /** The entry where it last began anew: those from there on were all read. */
  readonly since?: number
  /** Leaf hash (hex) and receipt of a book that the log has to have. */
  readonly expected?: { readonly entry: string; readonly receipt: EnvelopeJson; readonly timeMs: number }
}

interface Logged {
  readonly index: number
  readonly entry: string
}

interface NewestBook extends Logged {
  readonly seq: number
}

interface NewestOperation extends Logged {
  /** Of its operations, hex, the newest last. */
  readonly hashes: readonly string[]
}

const PK = 'repository-log'
const VIEW = 'view/'
const PRUNED = 'pruned/'
const BREACH = 'breach/'
const BREACHES = 100

/** Checkpoints of others that were found to be of one history with what is followed. */
const AGREED = 256

export function createLogView(context: AgentContext): LogView {
  const { store, environment, repository, owner, repositoryWitnesses: policy } = context
  const { clock } = environment
  const { get, put } = recordsIn(store)
  const agreed = new Set<string>()
  const sk = VIEW + repository.url
  let known: Kept | undefined
  let triedMs = -Infinity
  let running: Promise<void> | undefined

  async function kept(): Promise<Kept | undefined> {
    const item = known ? undefined : await get<Kept>(sk)
    return (known ??= item)
  }

  /** Two histories are never forgotten. */
  async function keep(view: Kept): Promise<void> {
    const lasting = { ...view, isSplit: view.isSplit || known?.isSplit === true }
    await put(sk, lasting)
    known = lasting
  }

  const breach = (name: string, what: RepositoryBreach): Promise<boolean> => put(BREACH + name, what)

  async function first(): Promise<Kept> {
    const { id, vkey, timeKey } = await repository.info()
    const keys = { vkey, timeKeys: [timeKey] }
    return { keys, id, note: '', size: 0, peaks: [], timeMs: -Infinity, isSplit: false }
  }

  async function follow(): Promise<void> {
    const view = (await kept()) ?? (await first())
    const seen = witnessed(readSeen(await repository.checkpoint(), view.keys), view.keys)
    if (view.note !== '' && isSplitView(view.note, seen.note, view.keys)) return confront(view, seen.note)
    // An old one that is shown again says nothing of now.
    if (seen.size < view.size) return
    const from = { size: view.size, peaks: view.peaks.map((peak) => fromHex(peak)) }
    const isNear = seen.size - view.size <= limits.entriesFollowed
    const { frontier, entries } = await (isNear ? followLog(repository, from, seen) : beginAnew(view, seen)).catch(
      async (error: unknown) => {
        await confront(view, seen.note)
        throw error
      },
    )
    await take(entries, from.size)
    // Where it begins anew, what lies between is not known.
    const { expected: _, ...anew } = { ...view, since: seen.size }
    await keep(await checked(advanced(isNear ? view : anew, seen, frontier)))
  }

  /** Of the time at which witnesses have seen it, where the owner goes by them. @throws Problem `unwitnessed` */
  function witnessed(seen: SeenCheckpoint, { vkey }: LogKeys): SeenCheckpoint {
    if (!policy) return seen
    const { cosignatures } = requireWitnessed(openNote(seen.note, [parseVerifierKey(vkey)]), policy, clock.now())
    return { ...seen, timeMs: Math.min(seen.timeMs, witnessedMs(cosignatures, policy)) }
  }

  async function beginAnew(view: Kept, seen: SeenCheckpoint) {
    await confront(view, seen.note)
    return { frontier: await frontierAt(repository, seen), entries: [] }
  }

  /** Holds another checkpoint of the log against what is followed, and keeps what they prove together. */
  async function confront(view: Kept, note: string): Promise<void> {
    if (view.note === '' || note === view.note) return
    const found = (await forkOf(view, note).catch(unlessBug)) ?? splitView(view, note)
    if (!found) return
    await breach(found.kind, found)
    await keep({ ...view, isSplit: true })
  }

  /** @throws Problem `peer-failed`, `not-found` when the repository does not show the tree of the larger one */
  async function forkOf({ note: ours, keys }: Kept, note: string): Promise<Fork | undefined> {
    const [older, newer] = [readSeen(ours, keys), readSeen(note, keys)].toSorted((a, b) => a.size - b.size) as [
      SeenCheckpoint,
      SeenCheckpoint,
    ]
    const name = `${older.size} ${toHex(older.rootHash)} ${toHex(newer.rootHash)}`
    if (agreed.has(name)) return undefined
    const proof = await consistencyOf(repository, older, newer)
    if (isFork(older, newer, proof))
      return { kind: 'fork', vkey: keys.vkey, notes: [older.note, newer.note], proof: proof.map(toHex) }
    if (agreed.size === AGREED) agreed.clear()
    agreed.add(name)
    return undefined
  }

  const splitView = ({ note: ours, keys }: Kept, note: string): RepositoryBreach | undefined =>
    isSplitView(ours, note, keys) ? { kind: 'split-view', notes: [ours, note] } : undefined

  async function take(entries: readonly Bytes[], from: number): Promise<void> {
    for (const [i, bytes] of entries.entries()) {
      const record = readRecord(bytes)
      const logged: Logged = { index: from + i, entry: toBase64url(bytes) }
      if (record?.kind === 'prune') await put(PRUNED + toHex(record.subject), {})
      if (record?.kind === 'book') {
        const { issuer, seq } = parseHead(record.book.head)
        await put(bookOf(issuer), { ...logged, seq } satisfies NewestBook)
      }
      if (record?.kind === 'identity') for (const one of record.operations) await takeOperation(one, logged)
    }
  }

  /** One that is logged again takes nobody back to the keys of then. */
  async function takeOperation(envelope: Envelope, logged: Logged): Promise<void> {
    const operation = parseOperation(envelope)
    // Whatever keys are shown rest on the first: of who only registers, which anybody may, nothing is kept.
    if (operation.seq === 0) return
    const [name, hash] = [operationOf(repository.url, identityOf(operation)), toHex(operation.hash)]
    const before = (await get<NewestOperation>(name))?.hashes ?? []
    if (before.includes(hash)) return
    const hashes = [...before, hash].slice(-limits.operationsPerIdentity)
    await put(name, { ...logged, hashes } satisfies NewestOperation)
  }

  async function isLogged(entry: string): Promise<boolean> {
    const newest = await get<NewestBook>(bookOf(owner))
    return newest !== undefined && toHex(leafHash(fromBase64url(newest.entry))) === entry
  }

  /** The owner's expected book is in the log, or missing from one of later. */
  async function checked(view: Kept): Promise<Kept> {
    const { expected, ...rest } = view
    if (!expected) return view
    if (await isLogged(expected.entry)) return rest
    // To the second, as checkpoints are timed.
    if (view.timeMs <= expected.timeMs + 1000) return view
    await breach('dropped-book', { kind: 'dropped-book', receipt: expected.receipt, note: view.note })
    return rest
  }

  async function refresh(): Promise<void> {
    // One that is far ahead is of before the clock was set back.
    if (Math.abs(clock.now() - triedMs) < limits.verdictMs) return running
    triedMs = clock.now()
    running = follow()
      .catch(unlessBug)
      .finally(() => (running = undefined))
    return running
  }

  async function isRevoked(book: SignedHead, shownByRepository: boolean): Promise<boolean> {
    const { head } = book
    const { issuer, seq } = readHead(head)
    const newest = await get<NewestBook>(bookOf(issuer))
    if (!newest) return false
    if (seq >= newest.seq) return renewsOlder(book, headIn(newest))
    if (shownByRepository) await noteHidden(head, issuer, newest).catch(unlessBug)
    return true
  }

  /**
   * A log has each change of keys after those that it follows or overrides: the newest is in force, with all before it.
   * One of before the view began anew may have been overridden in an entry that was not read.
   */
  async function isOutdated(shown: IdentityState, shownByRepository: boolean): Promise<boolean> {
    const newest = await get<NewestOperation>(operationOf(repository.url, shown.id))
    if (!newest || newest.index < ((await kept())?.since ?? 0)) return false
    const [inForce, last] = [newest.hashes.at(-1), shown.operations.at(-1)]
    if (!inForce || !last || isInForce(shown, fromHex(inForce))) return false
    if (shownByRepository) await noteHidden(last.envelope, shown.id, newest).catch(unlessBug)
    return true
  }

  async function noteHidden(what: Envelope, issuer: Bytes, { index, entry }: Logged): Promise<void> {
    const view = await kept()
    if (!view || index >= view.size) return
    const read = tileNodeReader(view.size, (tile) => repository.tile(tilePath(tile)))
    const proof = await readSpans(inclusionSpans(index, view.size), read)
    const shown = envelopeToJson(what)
    const { note } = view
    await breach(toHex(issuer), { kind: 'hidden-revocation', shown, note, index, entry, proof: proof.map(toBase64url) })
  }

  return {
    refresh,
    async ageMs() {
      const view = await kept()
      return view && !view.isSplit ? clock.now() - view.timeMs : Infinity
    },
    note: async () => (await kept())?.note,
    async compare(note) {
      const view = await kept()
      if (view) await confront(view, note)
    },
    isRevoked,
    isOutdated,
    async expect(receipt) {
      await refresh()
      const view = await kept()
      const { entry, ledger, time } = parseReceipt(receipt)
      if (!view || toHex(ledger) !== view.id || (await isLogged(toHex(entry)))) return
      await keep({ ...view, expected: { entry: toHex(entry), receipt: envelopeToJson(receipt), timeMs: time } })
    },
    pruned: () => readAll(store, PK, ({ sk: name }) => name.slice(PRUNED.length), { prefix: PRUNED }),
    async breaches() {
      const items = await store.list(PK, { prefix: BREACH, limit: BREACHES })
      return items.map((item) => decodeRecord<RepositoryBreach>(item))
    },
  }
}

function headIn({ entry }: NewestBook): BookHead {
  const record = readRecord(fromBase64url(entry))
  if (record?.kind !== 'book') throw new Error('What was kept of a book is none.')
  return readHead(record.book.head)
}

const bookOf = (issuer: Bytes): string => `book/${toHex(issuer)}`

/** Each repository judges by itself which operation overrides which. */
const operationOf = (url: string, id: Bytes): string => `identity/${url}/${toHex(id)}`

const recordsIn = (store: Store) => ({
  get: async <T>(name: string): Promise<T | undefined> => {
    const item = await store.get(PK, name)
    return item && decodeRecord<T>(item)
  },
  put: (name: string, what: unknown): Promise<boolean> =>
    store.write([{ pk: PK, sk: name, expect: 'any', body: encodeRecord(what) }]),
})

function advanced(view: Kept, seen: SeenCheckpoint, frontier: Frontier): Kept {
  const { note, size } = seen
  return { ...view, note, size, peaks: frontier.peaks.map(toHex), timeMs: Math.max(view.timeMs, seen.timeMs) }
}
