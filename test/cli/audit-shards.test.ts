/** What an auditor says of a log in shards, and of a ledger that shows something else than what happened. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { auditLog, type AuditReport } from '../../agent/cli/audit.ts'
import { sourceInFolder, type LogSource } from '../../agent/cli/log-source.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { shardOf } from '../../protocol/arbiter/shard-of.ts'
import { openKeptState } from '../../protocol/arbiter/kept-state.ts'
import { fromUtf8, utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatCheckpoint, noteKey, noteText, parseCheckpoint, signNote } from '../../protocol/checkpoint.ts'
import { genesis } from '../../protocol/identity.ts'
import { decodeEntry, encodeEntry, entryHash } from '../../protocol/entry.ts'
import { append, EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { encodeJoin, readJoin, shardOrigin } from '../../protocol/shards.ts'
import { signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeBundle, encodeBundle, tilePath, tileWidth } from '../../protocol/tile.ts'
import {
  expectAccepted,
  FAUCET,
  LEDGER_ID,
  openLedger,
  ORIGIN,
  SECRET,
  START_MS,
  type TestLedger,
} from '../ledger/kit.ts'
import { openSettlers } from '../ledger/settlers.ts'

const SHARDS = 2
const signer = signerFrom(SECRET)
const key = noteKey(ORIGIN, signer.key)

/** The entries of the root log and of each shard, at the time that the root log has so many. */
interface Logs {
  readonly root: readonly Bytes[]
  readonly shards: readonly (readonly Bytes[])[]
}

let honest: Logs
let earlier: Logs

beforeAll(async () => {
  const ledger = openLedger({ policy: { shards: SHARDS } })
  const send = async (path: string, objects: Parameters<TestLedger['post']>[1]) => {
    ledger.clock.advance(1)
    await expectAccepted(ledger.post(path, objects))
  }
  const lanes = await openSettlers({ ledger: LEDGER_ID, nowMs: START_MS, payers: 4, lanesEach: 2, units: 8, send })
  // A round that changes more than an audit keeps back.
  for (let i = 0; i < 60; i++)
    await send('/v1/accounts', { identity: genesis([signerFrom(sha256(utf8(`stranger ${i}`)))], START_MS) })
  await ledger.sequence()
  for (const unit of [1, 4, 8]) {
    for (const lane of lanes) await send('/v1/redemptions', { redemption: lane.redeem(unit) })
    await ledger.sequence()
    await ledger.attest()
    earlier ??= await read(ledger)
  }
  honest = await read(ledger)
})

async function read(ledger: TestLedger): Promise<Logs> {
  const bytes = async (path: string) => new Uint8Array(await (await ledger.app.request(path)).arrayBuffer())
  const entries = async (under: string) => {
    const { size } = checkpointIn(fromUtf8(await bytes(`${under}checkpoint`)))
    const width = tileWidth('entries', 0, size)
    return decodeBundle(await bytes(under + tilePath({ level: 'entries', index: 0, width })), width)
  }
  return { root: await entries('/'), shards: [await entries('/shard/0/'), await entries('/shard/1/')] }
}

const checkpointIn = (note: string) => parseCheckpoint(noteText(note))

const treeOf = (entries: readonly Bytes[]) => append(EMPTY_FRONTIER, entries.map(entryHash))

function signed(origin: string, entries: readonly Bytes[]): string {
  const tree = treeOf(entries)
  return signNote(formatCheckpoint({ origin, size: tree.size, rootHash: frontierRoot(tree) }), { name: origin, signer })
}

/** What a ledger serves that signs whatever its logs hold. @param shown of the shards, unless they are as long as they are */
function serve({ root, shards }: Logs, shown: readonly string[] = [], isCopy = false): LogSource {
  const files = new Map<string, Bytes>()
  const put = (under: string, origin: string, entries: readonly Bytes[]) => {
    const width = entries.length
    files.set(`${under}checkpoint`, utf8(signed(origin, entries)))
    if (width === 0) return
    files.set(under + tilePath({ level: 'entries', index: 0, width }), encodeBundle(entries))
    files.set(
      under + tilePath({ level: 0, index: 0, width }),
      new Uint8Array(entries.flatMap((one) => [...entryHash(one)])),
    )
  }
  put('', ORIGIN, root)
  for (const [shard, entries] of shards.entries()) put(`shard/${shard}/`, shardOrigin(ORIGIN, shard), entries)
  for (const [shard, note] of shown.entries()) files.set(`shard/${shard}/checkpoint`, utf8(note))
  if (shown.includes('')) files.delete(`shard/${shown.indexOf('')}/checkpoint`)
  const file = async (path: string) => files.get(path) ?? Promise.reject(new Problem('not-found', path))
  return { isCopy, checkpoint: async () => fromUtf8(await file('checkpoint')), tile: file }
}

const audit = (logs: Logs, shown?: readonly string[]): Promise<AuditReport> => auditLog(serve(logs, shown), key)

/** The joins of these rounds, of shards as long as they were. */
const joinAt = (root: readonly Bytes[], at: number, change: (notes: readonly string[]) => readonly string[]) =>
  root.map((bytes, i) => {
    if (i !== at) return bytes
    const { checkpoints, round } = readJoin(decodeEntry(bytes))
    return encodeJoin({ round, checkpoints: change(checkpoints) }, START_MS)
  })

const notesAt = (at: number): readonly string[] => readJoin(decodeEntry(honest.root[at] as Bytes)).checkpoints

/** The logs when the second shard grew last. */
function grownLast(): {
  readonly root: readonly Bytes[]
  readonly shards: readonly [readonly Bytes[], readonly Bytes[]]
} {
  const [first, second] = honest.shards as [Bytes[], Bytes[]]
  const sizes = honest.root.map((_, i) => notesAt(i).map((note) => checkpointIn(note).size))
  const last = sizes.findIndex(([, size]) => size === second.length)
  return { root: honest.root.slice(0, last + 1), shards: [first.slice(0, sizes[last]?.[0]), second] }
}

test('a log in shards is found right, over all of them', async () => {
  const entries = honest.shards.reduce((sum, shard) => sum + shard.length, 0)
  const report = await audit(honest)
  expect(report).toMatchObject({ ok: true, origin: ORIGIN, size: entries, shards: SHARDS, problems: [] })
  for (const shard of honest.shards) expect(shard.length).toBeGreaterThan(8)
})

test('an audit that was stopped at any of its writes goes on there, in the middle of a round too', async () => {
  let isDone = false
  let isWithin = false
  for (let stopped = 0; !isDone; stopped++) {
    const store = openSqlite(':memory:')
    let writes = 0
    const doomed: Store = {
      ...store,
      async write(changes) {
        if (writes++ === stopped) throw new Error('stopped')
        return store.write(changes)
      },
    }
    isDone = await auditLog(serve(honest), key, { state: await openKeptState(doomed) }).then(
      () => true,
      () => false,
    )
    const state = await openKeptState(store)
    const joined = state.progress?.shards?.reduce((sum, { frontier }) => sum + frontier.size, 0) ?? 0
    isWithin ||= (state.progress?.position.size ?? 0) > joined
    expect(await auditLog(serve(honest), key, { state })).toMatchObject({ ok: true, shards: SHARDS })
  }
  expect(isWithin).toBe(true)
})

test('an audit goes on where another one was', async () => {
  const store = openSqlite(':memory:')
  await auditLog(serve(earlier), key, { state: await openKeptState(store) })
  const state = await openKeptState(store)
  const before = state.progress?.position.size
  expect(before).toBe(earlier.shards.reduce((sum, shard) => sum + shard.length, 0))
  const report = await auditLog(serve(honest), key, { state })
  expect(report).toMatchObject({ ok: true, resumedAt: before })
  expect((await auditLog(serve(honest), key, { state: await openKeptState(store) })).ok).toBe(true)
  const kept = await openKeptState(store)
  expect(await auditLog(serve(earlier), key, { state: kept })).toMatchObject({ ok: false })
})

describe('an audit finds', () => {
  test('a checkpoint of a shard that is not in the root log', async () => {
    const [first, second] = honest.shards as [Bytes[], Bytes[]]
    const longer = signed(shardOrigin(ORIGIN, 1), [...second, ...first.slice(0, 1)])
    const report = await audit(honest, [signed(shardOrigin(ORIGIN, 0), first), longer])
    expect(report.problems).toEqual(['the checkpoint that is shown of shard 1 is not in the root log'])
  })

  test('a shard that is not shown; of a copy, that is a copy that lags', async () => {
    const [note = ''] = notesAt(honest.root.length - 1)
    expect((await audit(honest, [note, ''])).problems).toEqual([expect.stringMatching(/^the checkpoint of shard 1: /)])
    await expect(auditLog(serve(honest, [note, ''], true), key)).rejects.toMatchObject({ code: 'log-behind' })
  })

  test('a join that leaves out a shard, or has one twice', async () => {
    const dropped = await audit({ ...honest, root: joinAt(honest.root, 2, (notes) => notes.slice(0, 1)) })
    expect(dropped).toMatchObject({ ok: false, entry: 2, log: ORIGIN })
    const twice = await audit({ ...honest, root: joinAt(honest.root, 2, ([, second = '']) => [second, second]) })
    expect(twice.problems).toEqual(['entry 2 of the root log: No known key has signed the note.'])
    const all = honest.root.map((_, i) => i)
    const fromThen = all.slice(3).reduce((root, i) => joinAt(root, i, (notes) => notes.slice(0, 1)), honest.root)
    expect(await audit({ ...honest, root: fromThen })).toMatchObject({ ok: false, entry: 3, log: ORIGIN })
    const more = await audit({
      ...honest,
      root: joinAt(honest.root, honest.root.length - 1, (notes) => [...notes, signed(shardOrigin(ORIGIN, 2), [])]),
    })
    expect(more.problems).toEqual([`entry ${honest.root.length - 1} of the root log: it joins 3 shards of 2`])
  })

  test('a join of an older checkpoint', async () => {
    const report = await audit({
      ...honest,
      root: joinAt(honest.root, 2, ([first = '']) => [first, notesAt(0)[1] ?? '']),
    })
    expect(report.problems).toEqual([
      expect.stringMatching(/^entry 2 of the root log: it joins shard 1 at \d+ entries, after \d+$/),
    ])
  })

  test('a round that is missing, or comes twice', async () => {
    const missing = await audit({ ...honest, root: honest.root.filter((_, i) => i !== 1) })
    expect(missing.problems).toEqual(['entry 1 of the root log: it joins round 3, not 2'])
    const twice = await audit({ ...honest, root: [...honest.root.slice(0, 2), ...honest.root.slice(1)] })
    expect(twice.problems).toEqual(['entry 2 of the root log: it joins round 2, not 3'])
  })

  test('an entry in a shard that it does not belong in', async () => {
    const {
      root,
      shards: [first, second],
    } = grownLast()
    const [moved] = second.slice(-1) as [Bytes]
    const shards = [[...first, moved], second.slice(0, -1)]
    const last = root.length - 1
    const notes = shards.map((entries, shard) => signed(shardOrigin(ORIGIN, shard), entries))
    const report = await audit({ root: joinAt(root, last, () => notes), shards })
    expect(shardOf(decodeEntry(moved), SHARDS)).toBe(1)
    expect(report).toMatchObject({
      entry: first.length,
      log: `${ORIGIN}/shard/0`,
      problems: [`entry ${first.length} of shard 0: it belongs in shard 1`],
    })
  })

  test('an entry that the rules do not lead to, and names its shard', async () => {
    const [first, second] = honest.shards as [Bytes[], Bytes[]]
    const at = second.findIndex((bytes) => decodeEntry(bytes).kind === 'redeem')
    const entry = decodeEntry(second[at] as Bytes)
    const forged = second.map((bytes, i) => (i === at ? encodeEntry({ ...entry, time: entry.time + 1 }) : bytes))
    const root = honest.root.map((bytes) => {
      const { checkpoints, round } = readJoin(decodeEntry(bytes))
      const size = checkpointIn(checkpoints[1] ?? '').size
      const note = signed(shardOrigin(ORIGIN, 1), forged.slice(0, size))
      return encodeJoin({ round, checkpoints: [checkpoints[0] ?? '', note] }, START_MS)
    })
    const report = await audit({ root, shards: [first, forged] })
    expect(report.ok).toBe(false)
    expect(report).toMatchObject({ log: expect.stringMatching(/shard\/[01]$/), entry: expect.any(Number) })
  })

  test('a join whose root is not that of the shard’s entries', async () => {
    const {
      root,
      shards: [first, second],
    } = grownLast()
    const last = root.length - 1
    const swapped = [...second.slice(0, -2), ...second.slice(-2).toReversed()]
    const notes = [signed(shardOrigin(ORIGIN, 0), first), signed(shardOrigin(ORIGIN, 1), swapped)]
    const report = await audit({ root: joinAt(root, last, () => notes), shards: [first, second] }, notes)
    expect(report.problems).toEqual([
      `entry ${last} of the root log: the entries of shard 1 do not add up to the root that it joins`,
    ])
  })
})

describe('a copy in a folder', () => {
  let dir = ''
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'raincheck-shards-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  test('is whole, each shard under its own path', async () => {
    const { openObjects } = await import('../../infra/objects.ts')
    const source = openLedger({ policy: { shards: SHARDS } })
    const ledger = createLedger({
      environment: {
        clock: source.clock,
        random: { bytes: (length) => new Uint8Array(length).fill(7) },
        transport: () => Promise.reject(new Error('nobody')),
      },
      store: source.store,
      secret: SECRET,
      origin: ORIGIN,
      policy: { faucet: FAUCET, unitPrice: 1n, shards: SHARDS },
      objects: await openObjects(`dir:${dir}`),
    })
    await ledger.sequence()
    const report = await auditLog(sourceInFolder(dir), key)
    expect(report).toMatchObject({ ok: true, size: 1, shards: SHARDS })
    const note = await readFile(join(dir, 'shard', '1', 'checkpoint'), 'utf8')
    expect(note).toContain(`${ORIGIN}/shard/1\n0\n`)
  })
})
