/** The log as an auditor meets it over HTTP: checkpoints, tiles, proofs. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey, type Checkpoint } from '../../protocol/checkpoint.ts'
import { decodeEntry, entryHash } from '../../protocol/entry.ts'
import { genesis } from '../../protocol/identity.ts'
import { consistencySpans, readSpans, rootOf, verifyConsistency, verifyInclusion } from '../../protocol/merkle.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { decodeBundle, tileNodeReader, tilePath, tileWidth, type Tile } from '../../protocol/tile.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Store } from '../../protocol/store.ts'
import { expectAccepted, expectProblem, openLedger, ORIGIN, START_MS, type TestLedger } from './kit.ts'
import { gift, person } from './people.ts'

async function register(ledger: TestLedger, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    const identity = genesis([signerFrom(sha256(utf8(`person ${i}`)))], START_MS)
    await expectAccepted(ledger.post('/v1/accounts', { identity }))
    ledger.clock.advance(1)
  }
}

async function checkpointOf(ledger: TestLedger): Promise<Checkpoint> {
  const note = await (await ledger.app.request('/checkpoint')).text()
  const { vkey } = (await ledger.get('/v1/ledger')).body
  return parseCheckpoint(openNote(note, [parseVerifierKey(String(vkey))]).text)
}

async function tileOf(ledger: TestLedger, tile: Tile): Promise<Bytes> {
  const response = await ledger.app.request(`/${tilePath(tile)}`)
  expect(response.status).toBe(200)
  return new Uint8Array(await response.arrayBuffer())
}

async function entriesOf(ledger: TestLedger, size: number): Promise<Bytes[]> {
  const entries: Bytes[] = []
  for (let index = 0; entries.length < size; index++) {
    const width = tileWidth('entries', index, size)
    entries.push(...decodeBundle(await tileOf(ledger, { level: 'entries', index, width }), width))
  }
  return entries
}

test('a new log holds its policy, under a checkpoint that its key signed', async () => {
  const ledger = openLedger()
  const { size, origin, rootHash } = await checkpointOf(ledger)
  const [policy] = await entriesOf(ledger, size)
  expect({ size, origin }).toEqual({ size: 1, origin: ORIGIN })
  expect(rootOf([entryHash(policy as Bytes)])).toEqual(rootHash)
  expect(decodeEntry(policy as Bytes)).toMatchObject({
    kind: 'policy',
    parts: [],
    data: { faucet: 1_000_000n, unitPrice: 1n, mergeDelay: 10_000n },
  })
})

test('grows consistently over the sizes of tiles and batches', async () => {
  const ledger = openLedger()
  let before = await checkpointOf(ledger)
  let people = 0
  for (const grown of [2, 3, 30, 255, 256, 257, 520]) {
    await register(ledger, people, grown - 1)
    people = grown - 1
    expect(await ledger.sequence()).toBe(grown - before.size)
    const now = await checkpointOf(ledger)
    expect(now.size).toBe(grown)
    const reader = tileNodeReader(grown, (tile) => tileOf(ledger, tile))
    const proof = await readSpans(consistencySpans(before.size, grown), reader)
    expect(verifyConsistency(before.size, grown, proof, before.rootHash, now.rootHash)).toBe(true)
    const hashes = (await entriesOf(ledger, grown)).map(entryHash)
    expect(rootOf(hashes)).toEqual(now.rootHash)
    before = now
  }
})

describe('a log of 300 entries', () => {
  const grow = async () => {
    const ledger = openLedger()
    await register(ledger, 0, 299)
    await ledger.sequence()
    return ledger
  }

  test('proves each entry, its index and its place', async () => {
    const ledger = await grow()
    const { size, rootHash } = await checkpointOf(ledger)
    for (const index of [0, 1, 128, 255, 256, 298, 299]) {
      const { body } = await ledger.get(`/v1/entries/${index}`)
      expect(body).toMatchObject({ index, size })
      const entry = new Uint8Array(Buffer.from(String(body['entry']), 'base64url'))
      const proof = (body['proof'] as string[]).map((hash) => fromHex(hash))
      expect(fromHex(String(body['hash']))).toEqual(entryHash(entry))
      expect(verifyInclusion(index, size, entryHash(entry), proof, rootHash)).toBe(true)
    }
    await expectProblem(ledger.get('/v1/entries/300'), 'not-found')
  })

  test('serves full tiles for ever, partial ones of any width, and none beyond its end', async () => {
    const ledger = await grow()
    const whole = await tileOf(ledger, { level: 0, index: 0, width: 256 })
    expect(whole.length).toBe(256 * 32)
    expect(await tileOf(ledger, { level: 0, index: 0, width: 7 })).toEqual(whole.slice(0, 7 * 32))
    expect((await tileOf(ledger, { level: 0, index: 1, width: 44 })).length).toBe(44 * 32)
    expect((await tileOf(ledger, { level: 1, index: 0, width: 1 })).length).toBe(32)
    expect(decodeBundle(await tileOf(ledger, { level: 'entries', index: 1, width: 3 }), 3).length).toBe(3)
    for (const path of [
      'tile/0/001',
      'tile/0/001.p/45',
      'tile/1/000',
      'tile/1/000.p/2',
      'tile/2/000.p/1',
      'tile/entries/002.p/1',
    ]) {
      await expectProblem(ledger.get(`/${path}`), 'not-found')
    }
    for (const path of [
      'tile/0/1',
      'tile/00/000',
      'tile/0/000.p/256',
      'tile/0/000.p/0',
      'tile/64/000',
      'tile/x/000',
      'tile/0/x001',
      'tile/0',
      'tile/0/000/',
    ]) {
      await expectProblem(ledger.get(`/${path}`), 'bad-request')
    }
  })

  test('says how long each answer may be kept', async () => {
    const ledger = await grow()
    const cached = async (path: string) => {
      const { headers } = await ledger.app.request(path)
      return [headers.get('content-type'), headers.get('cache-control')]
    }
    expect(await cached('/tile/0/000')).toEqual(['application/octet-stream', expect.stringContaining('immutable')])
    expect(await cached('/tile/entries/000')).toEqual([
      'application/octet-stream',
      expect.stringContaining('immutable'),
    ])
    expect((await cached('/tile/0/001.p/44'))[1]).not.toContain('immutable')
    expect(await cached('/checkpoint')).toEqual([expect.stringContaining('text/plain'), 'no-cache'])
  })

  test('shows an account its entries in pages', async () => {
    const ledger = await grow()
    const { id } = (
      await ledger.post('/v1/accounts', { identity: genesis([signerFrom(sha256(utf8('person 7')))], START_MS) })
    ).body
    const rows = async (query: string) =>
      (await ledger.get(`/v1/accounts/${String(id)}/entries${query}`)).body['entries']
    expect(await rows('')).toEqual([
      {
        index: 8,
        kind: 'register',
        time: expect.any(Number),
        entry: expect.any(String),
        available: '1000000',
        frozen: '0',
        earned: '0',
        bonds: '0',
      },
    ])
    expect(await rows('?after=7&limit=1')).toHaveLength(1)
    expect(await rows('?after=8')).toEqual([])
    await expectProblem(ledger.get(`/v1/accounts/${String(id)}/entries?after=-1`), 'bad-request')
    await expectProblem(ledger.get(`/v1/accounts/${String(id)}/entries?from=1`), 'bad-request')
    for (const limit of ['0', '1001', '1.5', '1e2', '']) {
      await expectProblem(ledger.get(`/v1/accounts/${String(id)}/entries?limit=${limit}`), 'bad-request')
    }
    await expectProblem(ledger.get(`/v1/accounts/${'0'.repeat(64)}/entries`), 'not-found')
  })

  test('reads each bundle once for a page of an account’s entries, however many of them lie there', async () => {
    const [alice, bob] = [person('alice'), person('bob')]
    const store = openSqlite(':memory:')
    const read: string[] = []
    const list: Store['list'] = (pk, range) => {
      if (pk.startsWith('entries/')) read.push(pk)
      return store.list(pk, range)
    }
    const ledger = openLedger({ store: { ...store, list } })
    for (const { identity } of [alice, bob]) await ledger.post('/v1/accounts', { identity })
    for (let n = 0; n < 40; n++)
      await ledger.post('/v1/transfers', { transfer: gift(alice, bob, 1n, alice.signer, String(n)) })
    await ledger.sequence()
    const rows = async () => (await ledger.get(`/v1/accounts/${alice.hex}/entries?limit=40`)).body['entries']
    read.length = 0
    expect(await rows()).toHaveLength(40)
    expect(read.length).toBeLessThanOrEqual(2)
  })
})
