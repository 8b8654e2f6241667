/** The log as plain objects: in a folder, in a bucket, and under faults. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { auditLog } from '../../agent/cli/audit.ts'
import { sourceInFolder } from '../../agent/cli/log-source.ts'
import { openObjects } from '../../infra/objects.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { tilesBetween, type ObjectHeaders, type ObjectStore } from '../../ledger/publisher.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { hasTile, tilePath } from '../../protocol/tile.ts'
import { verifyLog } from '../log-verifier/verifier.ts'
import { coded } from '../problems.ts'
import { startS3, type S3Server } from '../servers/s3.ts'
import { FAUCET, ORIGIN, SECRET, START_MS, testClock, testEnvironment } from './kit.ts'

const key = noteKey(ORIGIN, signerFrom(SECRET).key)
const vkey = formatVerifierKey(key)

function openLedger(objects: ObjectStore, store: Store = openSqlite(':memory:')) {
  const clock = testClock()
  const ledger = createLedger({
    environment: testEnvironment(clock),
    store,
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: FAUCET, unitPrice: 1n },
    objects,
  })
  let people = 0
  /** Up to a size, in one run of the sequencer. */
  async function grow(count: number): Promise<void> {
    for (let i = 0; i < count; i++, people++) await register(ledger, `person ${people}`)
    await ledger.sequence()
  }
  return { clock, ledger, grow, store }
}

async function register(ledger: Ledger, name: string): Promise<void> {
  const identity = envelopeToJson(genesis([signerFrom(sha256(utf8(name)))], START_MS))
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ identity }) }
  expect((await ledger.app.request('/v1/accounts', init)).status).toBe(201)
}

interface Kept extends ObjectHeaders {
  readonly body: Bytes
}

/** Objects in memory. @param refuse told of each put; whether it fails */
function memoryObjects(refuse: (path: string, puts: number) => boolean = () => false) {
  const kept = new Map<string, Kept>()
  const order: string[] = []
  let puts = 0
  const objects: ObjectStore = {
    async put(path, body, headers) {
      if (refuse(path, puts++)) throw new Problem('storage-unavailable', 'No.')
      order.push(path)
      kept.set(path, { body, ...headers })
    },
  }
  const verify = () =>
    verifyLog({
      read: async (path) => (kept.has(path) ? Buffer.from((kept.get(path) as Kept).body) : undefined),
      vkey,
      origin: ORIGIN,
    })
  return { objects, kept, order, verify }
}

test('what is put is a whole log at each size, the checkpoint last, with the right headers', async () => {
  const { objects, kept, order, verify } = memoryObjects()
  const { grow } = openLedger(objects)
  let size = 1
  for (const count of [0, 1, 253, 1, 1, 30]) {
    await grow(count)
    size += count
    expect(await verify()).toMatchObject({ size })
    expect(order.at(-1)).toBe('checkpoint')
  }
  expect(kept.get('checkpoint')).toMatchObject({ contentType: 'text/plain; charset=utf-8', cacheControl: 'no-cache' })
  for (const path of ['tile/0/000', 'tile/entries/000', 'tile/0/001.p/31', 'tile/1/000.p/1'])
    expect(kept.get(path)).toMatchObject({
      contentType: 'application/octet-stream',
      cacheControl: expect.stringContaining('immutable'),
    })
})

test('a log that rests is put once', async () => {
  const { objects, order } = memoryObjects()
  const { grow } = openLedger(objects)
  await grow(3)
  const before = order.length
  await grow(0)
  expect(order).toHaveLength(before)
})

test('the tiles between two sizes are those that the larger has and the smaller has not', () => {
  fc.assert(
    fc.property(fc.nat(140_000), fc.nat(3000), (from, more) => {
      const paths = tilesBetween(from, from + more).map(tilePath)
      const all = tilesBetween(0, from + more)
      expect(all.every((tile) => hasTile(tile, from + more))).toBe(true)
      const wanted = all.filter(
        (tile) => !hasTile(tile, from) || tilesBetween(0, from).every((old) => tilePath(old) !== tilePath(tile)),
      )
      expect(new Set(paths)).toEqual(new Set(wanted.map(tilePath)))
    }),
    { numRuns: 15 },
  )
})

test('a round that fails in the middle leaves the last checkpoint whole, and the next round goes on', async () => {
  let fails = false
  const { objects, verify } = memoryObjects((_, puts) => fails && puts % 3 === 2)
  const { grow, ledger } = openLedger(objects)
  await grow(4)
  fails = true
  await expect(grow(260)).rejects.toEqual(coded('storage-unavailable'))
  expect(await verify()).toMatchObject({ size: 5 })
  fails = false
  await ledger.sequence()
  expect(await verify()).toMatchObject({ size: 265 })
})

test('of two processes, one that is late does not leave an older checkpoint behind', async () => {
  const { objects, kept, verify } = memoryObjects()
  const [arrived, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let isHeld = true
  const slow: ObjectStore = {
    async put(path, body, headers) {
      if (path === 'checkpoint' && isHeld) {
        arrived.resolve()
        await released.promise
      }
      await objects.put(path, body, headers)
    },
  }
  const store = openSqlite(':memory:')
  const late = openLedger(slow, store)
  const growing = late.grow(2)
  await arrived.promise
  const other = openLedger(objects, store)
  await register(other.ledger, 'somebody else')
  await other.ledger.sequence()
  expect(await verify()).toMatchObject({ size: 4 })
  isHeld = false
  released.resolve()
  await growing
  expect(await verify()).toMatchObject({ size: 4 })
  expect(kept.size).toBeGreaterThan(3)
})

test('an older checkpoint that a process leaves behind as it is killed is put right by another, though the log rests', async () => {
  const { objects, verify } = memoryObjects()
  const [landed, killed] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()]
  const store = openSqlite(':memory:')
  const other = openLedger(objects, store)
  const slow: ObjectStore = {
    async put(path, body, headers) {
      if (path === 'checkpoint') await other.grow(1)
      await objects.put(path, body, headers)
      if (path !== 'checkpoint') return
      landed.resolve()
      await killed.promise
    },
  }
  const doomed = openLedger(slow, store)
  await register(doomed.ledger, 'somebody else')
  void doomed.ledger.sequence()
  await landed.promise
  expect(await verify()).toMatchObject({ size: 2 })
  other.clock.advance(limits.cosignedAgainMs)
  await other.grow(0)
  expect(await verify()).toMatchObject({ size: 3 })
})

describe('in a folder', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'raincheck-tiles-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  test('the log can be audited where it lies', async () => {
    const { grow } = openLedger(await openObjects(`dir:${folder}`))
    await grow(300)
    expect(await auditLog(sourceInFolder(folder), key)).toMatchObject({ ok: true, size: 301 })
    const files = await readdir(folder, { recursive: true })
    expect(files.filter((file) => file.endsWith('.tmp'))).toEqual([])
  })

  test('that cannot be written is told', async () => {
    const { grow } = openLedger(await openObjects('dir:/proc/nowhere'))
    await expect(grow(1)).rejects.toEqual(coded('storage-unavailable'))
  })
})

describe('in a bucket', () => {
  let s3: S3Server
  beforeEach(async () => {
    s3 = await startS3({ buckets: ['logs'], principals: { AKIDLEDGER: { secretAccessKey: 'secret' } } })
    process.env['AWS_ENDPOINT_URL_S3'] = s3.url
    process.env['AWS_REGION'] = 'us-east-1'
    process.env['AWS_ACCESS_KEY_ID'] = 'AKIDLEDGER'
    process.env['AWS_SECRET_ACCESS_KEY'] = 'secret'
  })
  afterEach(async () => {
    for (const name of ['AWS_ENDPOINT_URL_S3', 'AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])
      delete process.env[name]
    await s3.close()
  })

  test('under a prefix, every object of the log is there', async () => {
    const { grow } = openLedger(await openObjects('s3://logs/ledger/one'))
    await grow(259)
    const objects = new Map(
      s3
        .bucket('logs')
        .list()
        .map(({ key: path, content }) => [path, content]),
    )
    const read = async (path: string) => {
      const content = objects.get(`ledger/one/${path}`)
      return content && Buffer.from(content.read(0, content.size))
    }
    expect(await verifyLog({ read, vkey, origin: ORIGIN })).toMatchObject({ size: 260 })
  })

  test('that is not there is told', async () => {
    const { grow } = openLedger(await openObjects('s3://nothing'))
    await expect(grow(1)).rejects.toEqual(coded('storage-unavailable'))
  })
})

test.each(['', 'logs', 'dir:', 's3://', 's3:///prefix', 'gs://bucket'])('tiles do not go to %j', async (spec) => {
  await expect(openObjects(spec)).rejects.toThrow(RangeError)
})
