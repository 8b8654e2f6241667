/** Joins of shards, which shard is an entry's, and in what order they replay. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { shardOf } from '../../protocol/arbiter/shard-of.ts'
import { fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatCheckpoint, noteKey, noteText, parseVerifierKey, signNote } from '../../protocol/checkpoint.ts'
import { decodeEntry, encodeEntry, entryHash, type Entry } from '../../protocol/entry.ts'
import { entryLogs, isIncluded, leafHashes } from '../../protocol/entry-logs.ts'
import { limits } from '../../protocol/limits.ts'
import { append, EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { redeem } from '../../protocol/settlement.ts'
import {
  encodeJoin,
  inReplayOrder,
  joinFault,
  openJoin,
  readJoin,
  shardKey,
  shardOrigin,
} from '../../protocol/shards.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { encodeBundle, tilePath } from '../../protocol/tile.ts'
import { coded, orProblem } from '../problems.ts'
import vectors from '../vectors/shards.json' with { type: 'json' }

const ORIGIN = 'shards.example/log'
const signer = signerFrom(sha256(utf8('shards')))
const key = noteKey(ORIGIN, signer.key)
const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes): Bytes => new Uint8Array(bytes))

const note = (shard: number, size: number, rootHash = sha256(utf8(`${shard} ${size}`))): string =>
  signNote(formatCheckpoint({ origin: shardOrigin(ORIGIN, shard), size, rootHash }), {
    name: shardOrigin(ORIGIN, shard),
    signer,
  })

const joined = (round: number, ...sizes: readonly number[]) =>
  openJoin(encodeJoin({ round, checkpoints: sizes.map((size, shard) => note(shard, size)) }, 0), key)

describe('the vectors', () => {
  const { join, places, vkey } = vectors

  test('of a join are written and read', () => {
    expect(toHex(encodeJoin(join, join.time))).toBe(join.entry)
    const { heads, round } = openJoin(fromHex(join.entry), parseVerifierKey(vkey))
    expect([round, heads.map(({ size }) => size)]).toEqual([join.round, [3, 0, 12]])
    expect(toHex(entryHash(fromHex(join.entry)))).toBe(join.hash)
  })

  test.each(places)('say which shard an entry belongs in', ({ entry, shards }) => {
    for (const [count, shard] of Object.entries(shards))
      expect(shardOf(decodeEntry(fromHex(entry)), Number(count))).toBe(shard)
  })
})

describe('a join', () => {
  test('comes back as it went in, its checkpoints opened', () => {
    const { heads, round } = joined(7, 3, 0, 12)
    expect(round).toBe(7)
    expect(heads.map(({ origin, size }) => [origin, size])).toEqual([
      [shardKey(key, 0).name, 3],
      [shardKey(key, 1).name, 0],
      [shardKey(key, 2).name, 12],
    ])
  })

  test('of what nobody signed, or another shard, or too few or many, is refused', () => {
    const open = (...checkpoints: readonly string[]) => openJoin(encodeJoin({ round: 1, checkpoints }, 0), key)
    expect(() => open(note(0, 1))).toThrow(coded('bad-encoding'))
    expect(() => open(...Array.from({ length: limits.logShards + 1 }, (_, i) => note(i, 1)))).toThrow(
      coded('bad-encoding'),
    )
    expect(() => open(note(0, 1), note(0, 1))).toThrow(coded('bad-signature'))
    const disguised = signNote(noteText(note(0, 1)), { name: shardOrigin(ORIGIN, 1), signer })
    expect(() => open(note(0, 1), disguised)).toThrow(coded('bad-signature'))
    expect(() => open(note(0, 1), note(1, 1).replace('\n1\n', '\n2\n'))).toThrow(coded('bad-signature'))
    expect(() => openJoin(encodeJoin({ round: 0, checkpoints: [note(0, 1), note(1, 1)] }, 0), key)).toThrow(
      coded('bad-encoding'),
    )
  })

  test('is read from anything without a bug', () => {
    const data = fc.oneof(
      fc.constant({ checkpoints: [utf8(note(0, 1)), utf8(note(1, 1))], round: 1n }),
      fc.record({ checkpoints: fc.array(id, { maxLength: 20 }), round: fc.bigInt({ min: -5n, max: 5n }) }),
      id,
    )
    fc.assert(
      fc.property(data, fc.constantFrom('join', 'policy', 'state'), (value, kind) => {
        orProblem(() => readJoin({ kind, parts: [], time: 0, data: value }))
      }),
    )
  })

  test('goes on from the one before by one round, all shards, and none smaller or other', () => {
    const before = joined(4, 3, 5)
    expect(joinFault(undefined, joined(1, 0, 0))).toBeUndefined()
    expect(joinFault(before, joined(5, 3, 5))).toBeUndefined()
    expect(joinFault(before, joined(5, 9, 5))).toBeUndefined()
    expect(joinFault(undefined, joined(2, 0, 0))).toBe('it joins round 2, not 1')
    expect(joinFault(before, joined(4, 3, 5))).toBe('it joins round 4, not 5')
    expect(joinFault(before, joined(5, 3, 5, 0))).toBe('it joins 3 shards of 2')
    expect(joinFault(before, joined(5, 9, 4))).toBe('it joins shard 1 at 4 entries, after 5')
    const other = encodeJoin({ round: 5, checkpoints: [note(0, 3), note(1, 5, sha256(utf8('other')))] }, 0)
    expect(joinFault(before, openJoin(other, key))).toBe('it joins shard 1 at 5 entries, after 5')
  })
})

describe('an entry belongs in', () => {
  const moved = (account: Bytes): Entry => ({
    kind: 'transfer',
    parts: [],
    time: 0,
    data: { moves: [{ account, available: 1n, earned: 0n, frozen: 0n }] },
  })

  test('one shard, by its lane or the first account that it moves, and in 0 when it moves none', () => {
    fc.assert(
      fc.property(id, fc.integer({ min: 2, max: limits.logShards }), (bytes, shards) => {
        const expected = new DataView(bytes.buffer).getUint32(0) % shards
        expect(shardOf(moved(bytes), shards)).toBe(expected)
        const terms = { lane: bytes, link: bytes, payee: sha256(bytes), proof: [], unit: 1 }
        const redemption = { ...moved(sha256(bytes)), kind: 'redeem', parts: [redeem(terms, signer)] }
        expect(shardOf(decodeEntry(encodeEntry(redemption)), shards)).toBe(expected)
        expect(shardOf({ ...moved(bytes), data: { moves: [] } }, shards)).toBe(0)
        expect(shardOf({ kind: 'state', parts: [], time: 0, data: {} }, shards)).toBe(0)
      }),
    )
  })
})

test('entries of a round have one order, whoever brings them in whichever', () => {
  const entry = fc.record({
    shard: fc.integer({ min: 0, max: 3 }),
    index: fc.integer({ min: 0, max: 1000 }),
    timeMs: fc.integer({ min: 0, max: 5 }),
    bytes: id,
  })
  const entries = fc.uniqueArray(entry, { selector: ({ index, shard }) => `${shard}/${index}`, maxLength: 30 })
  fc.assert(
    fc.property(entries, fc.infiniteStream(fc.nat()), (all, ranks) => {
      const shuffled = all.map((one) => [ranks.next().value as number, one] as const)
      const other = shuffled.toSorted(([a], [b]) => a - b).map(([, one]) => one)
      const order = inReplayOrder(all)
      expect(inReplayOrder(other)).toEqual(order)
      expect(order.map(({ timeMs }) => timeMs)).toEqual(order.map(({ timeMs }) => timeMs).toSorted((a, b) => a - b))
    }),
  )
})

test('the entries of a log in shards are found through the root log, by nobody’s word', async () => {
  const shards = [[utf8('a'), utf8('b')], [utf8('c')]]
  const tree = (entries: readonly Bytes[]) => append(EMPTY_FRONTIER, entries.map(entryHash))
  const checkpoints = shards.map((entries, i) => note(i, entries.length, frontierRoot(tree(entries))))
  const join = encodeJoin({ round: 1, checkpoints }, 0)
  const files = new Map<string, Bytes>()
  for (const [i, entries] of [[join], ...shards].entries()) {
    const under = i === 0 ? '' : `shard/${i - 1}/`
    const tile = { index: 0, width: entries.length }
    files.set(under + tilePath({ ...tile, level: 'entries' }), encodeBundle(entries))
    files.set(under + tilePath({ ...tile, level: 0 }), new Uint8Array(entries.flatMap((one) => [...entryHash(one)])))
  }
  const source = { tile: async (path: string) => files.get(path) ?? Promise.reject(new Problem('not-found', path)) }
  const root = { origin: ORIGIN, size: 1, rootHash: frontierRoot(tree([join])) }
  const logs = await entryLogs(source, root, key)
  const leaves = await Promise.all(logs.map(async (log) => (await Array.fromAsync(leafHashes(log))).flat()))
  expect(leaves).toEqual(shards.map((entries) => entries.map(entryHash)))
  const [first, second] = logs
  expect(first && (await isIncluded(first, entryHash(utf8('b')), 1))).toBe(true)
  expect(second && (await isIncluded(second, entryHash(utf8('b')), 1))).toBe(false)
  // Another join in its place, or an entry that says that the log is one, is not of the checkpoint.
  for (const lie of [encodeJoin({ round: 1, checkpoints }, 1), encodeEntry({ kind: 'state', parts: [], time: 0 })]) {
    files.set('tile/entries/000.p/1', encodeBundle([lie]))
    await expect(entryLogs(source, root, key)).rejects.toEqual(coded('proof-invalid'))
  }
})
