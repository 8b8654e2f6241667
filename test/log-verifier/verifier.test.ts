/** The ledger's log under a verifier that shares no code with it, at sizes where tiles begin, fill and overflow. */
import { beforeAll, describe, expect, test } from 'vitest'
import { commandChange } from '../../ledger/pending.ts'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { formatCheckpoint, formatVerifierKey, noteKey, signNote } from '../../protocol/checkpoint.ts'
import { encodeEntry, entryHash } from '../../protocol/entry.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { EMPTY_ROOT } from '../../protocol/merkle.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { expectAccepted, openLedger, ORIGIN, SECRET, START_MS, type TestLedger } from '../ledger/kit.ts'
import { Rejected, verifyLog, type Options, type Read } from './verifier.ts'

const SIZES = [1, 255, 256, 257, 65_793] as const
const signer = signerFrom(SECRET)
const vkey = formatVerifierKey(noteKey(ORIGIN, signer.key))

/** Entries wait as those of commands do; what they say does not matter to the log. @param history makes another */
async function grow(ledger: TestLedger, from: number, to: number, history = 0): Promise<void> {
  const changes = Array.from({ length: to - from }, (_, i) => {
    const timeMs = 10 * (from + i)
    const entry = encodeEntry({ kind: 'transfer', parts: [], time: timeMs + history, data: { moves: [] } })
    return commandChange(timeMs, entryHash(entry), { entry, lanes: [] })
  })
  for (let at = 0; at < changes.length; at += limits.changesPerWrite) {
    await ledger.store.write(changes.slice(at, at + limits.changesPerWrite))
  }
  expect(await ledger.sequence()).toBe(to - from)
}

const readerOf =
  (ledger: TestLedger): Read =>
  async (path) => {
    const response = await ledger.app.request(`/${path}`)
    return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined
  }

const accept = (read: Read, options: Partial<Options> = {}) => verifyLog({ read, vkey, origin: ORIGIN, ...options })

/** The log with one path answered otherwise. */
const tampered =
  (read: Read, at: string, change: (bytes: Buffer) => Buffer | undefined): Read =>
  async (path) => {
    const bytes = await read(path)
    return path === at && bytes ? change(bytes) : bytes
  }

const flip =
  (at: number) =>
  (bytes: Buffer): Buffer => {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    return flipped
  }

describe('the log', () => {
  let ledger: TestLedger
  const notes = new Map<number, string>()
  beforeAll(async () => {
    ledger = openLedger()
    await ledger.sequence()
  })

  test.each(SIZES)('of %i entries is accepted, and goes on from each before', async (size) => {
    const [before = 1] = [...notes.keys()].slice(-1)
    if (size > before) await grow(ledger, before, size)
    const read = readerOf(ledger)
    const note = String(await read('checkpoint'))
    expect(await accept(read)).toMatchObject({ size, entries: size })
    for (const earlier of [...notes.values()].slice(-2)) await accept(read, { earlier })
    notes.set(size, note)
  })

  test('of no entries is accepted', async () => {
    const note = signNote(formatCheckpoint({ origin: ORIGIN, size: 0, rootHash: EMPTY_ROOT }), { name: ORIGIN, signer })
    const read: Read = async (path) => (path === 'checkpoint' ? Buffer.from(note) : undefined)
    expect(await accept(read)).toMatchObject({ size: 0 })
  })
})

describe('a log in shards', () => {
  test('is one log for each, and the root log, which are accepted as they grow', async () => {
    const ledger = openLedger({ policy: { shards: 2 } })
    const earlier = new Map<string, string>()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 8; i++) {
        const identity = genesis([signerFrom(sha256(utf8(`person ${round} ${i}`)))], START_MS)
        await expectAccepted(ledger.post('/v1/accounts', { identity }))
      }
      await ledger.sequence()
      for (const [under, origin] of [
        ['', ORIGIN],
        ['shard/0/', `${ORIGIN}/shard/0`],
        ['shard/1/', `${ORIGIN}/shard/1`],
      ] as const) {
        const read: Read = (path) => readerOf(ledger)(under + path)
        const key = formatVerifierKey(noteKey(origin, signer.key))
        const before = earlier.get(origin)
        const verified = await verifyLog({ read, vkey: key, origin, ...(before !== undefined && { earlier: before }) })
        expect(verified.entries).toBe(verified.size)
        earlier.set(origin, String(await read('checkpoint')))
      }
    }
  })
})

describe('of a log of 257 entries, it rejects', () => {
  let ledger: TestLedger
  let read: Read
  beforeAll(async () => {
    ledger = openLedger()
    await ledger.sequence()
    await grow(ledger, 1, 257)
    read = readerOf(ledger)
  })

  test.each([
    ['tile/entries/000', 500],
    ['tile/entries/001.p/1', 20],
    ['tile/0/000', 0],
    ['tile/0/000', 8191],
    ['tile/0/001.p/1', 31],
    ['tile/1/000.p/1', 16],
    ['checkpoint', 3],
    ['checkpoint', 24],
    ['checkpoint', 40],
  ])('a flipped byte of %s at %i', async (path, at) => {
    await expect(accept(tampered(read, path, flip(at)))).rejects.toThrow(Rejected)
    await expect(accept(read)).resolves.toMatchObject({ size: 257 })
  })

  test('a dropped entry, in the middle or at the end of a bundle', async () => {
    const dropFirst = (bytes: Buffer) => bytes.subarray(2 + bytes.readUInt16BE(0))
    await expect(accept(tampered(read, 'tile/entries/000', dropFirst))).rejects.toThrow('255 entries, not 256')
    await expect(accept(tampered(read, 'tile/entries/001.p/1', dropFirst))).rejects.toThrow('0 entries, not 1')
  })

  test('an entry in the place of another', async () => {
    const swap = (bytes: Buffer) => {
      const first = 2 + bytes.readUInt16BE(0)
      const second = first + 2 + bytes.readUInt16BE(first)
      return Buffer.concat([bytes.subarray(first, second), bytes.subarray(0, first), bytes.subarray(second)])
    }
    await expect(accept(tampered(read, 'tile/entries/000', swap))).rejects.toThrow('does not hold')
  })

  test('a tile or a bundle that is missing', async () => {
    for (const path of ['checkpoint', 'tile/entries/001.p/1', 'tile/0/000', 'tile/1/000.p/1'])
      await expect(accept(tampered(read, path, () => undefined))).rejects.toThrow(`${path} is not there`)
  })

  test('a history that forks from what was seen before', async () => {
    const seen = String(await read('checkpoint'))
    const fork = openLedger()
    await fork.sequence()
    await grow(fork, 1, 257, 5)
    await grow(fork, 257, 300, 5)
    await expect(accept(readerOf(fork))).resolves.toMatchObject({ size: 300 })
    await expect(accept(readerOf(fork), { earlier: seen })).rejects.toThrow('does not go on')
    const short = openLedger()
    await expect(accept(readerOf(short), { earlier: seen })).rejects.toThrow('had 257 entries, and has 1')
  })

  test('another origin than the wanted, and another key', async () => {
    await expect(accept(read, { origin: 'other.example/log' })).rejects.toThrow('not of other.example/log')
    const other = formatVerifierKey(noteKey(ORIGIN, signerFrom(new Uint8Array(32).fill(7)).key))
    await expect(accept(read, { vkey: other })).rejects.toThrow('has not signed')
    const renamed = formatVerifierKey(noteKey('other.example/log', signer.key))
    await expect(accept(read, { vkey: renamed })).rejects.toThrow('has not signed')
    const forged = vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+')
    await expect(accept(read, { vkey: forged })).rejects.toThrow('id of the vkey')
  })
})
