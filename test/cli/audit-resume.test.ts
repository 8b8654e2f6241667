/** An audit that goes on where it was, of a ledger or of a copy of its log that lags. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { auditLog } from '../../agent/cli/audit.ts'
import { openKeptState } from '../../protocol/arbiter/kept-state.ts'
import { sourceAtUrl, sourceInFolder, type LogSource } from '../../agent/cli/log-source.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { addSignature, formatVerifierKey, noteKey, noteText } from '../../protocol/checkpoint.ts'
import { cosign } from '../../protocol/cosignature.ts'
import { decodeEntry, encodeEntry } from '../../protocol/entry.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { Problem } from '../../protocol/problem.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { decodeBundle } from '../../protocol/tile.ts'
import type { Store } from '../../protocol/store.ts'
import { sha256 } from '#primitives'
import { createLogWriter, LOG_KEY } from '../bench/log-writer.ts'
import { makeLog } from '../bench/made-log.ts'
import { createFaultyStore } from '../faults/faulty-store.ts'

const SIZES = [300, 520, 780] as const
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-audit-'))
  await makeLog(folder, SIZES)
})
afterAll(() => rm(folder, { recursive: true }))

/** The log as it was when it had so many entries. @param read told of each tile that is read */
function logAt(size: number, read: (path: string) => void = () => undefined): LogSource {
  const source = sourceInFolder(folder)
  return {
    isCopy: true,
    checkpoint: () => readFile(join(folder, `checkpoint.${size}`), 'utf8'),
    tile: (path) => {
      read(path)
      return source.tile(path)
    },
  }
}

async function entriesOf(size: number): Promise<Bytes[]> {
  const bundles = await Promise.all(['000', '001'].map((name) => readFile(join(folder, 'tile', 'entries', name))))
  return bundles.flatMap((bundle) => decodeBundle(new Uint8Array(bundle), 256)).slice(0, size)
}

function forged(bytes: Bytes): Bytes {
  const entry = decodeEntry(bytes)
  const flip = (signature: Bytes): Bytes => signature.with(40, (signature[40] ?? 0) ^ 1)
  return encodeEntry({ ...entry, parts: entry.parts.map((part) => ({ ...part, signature: flip(part.signature) })) })
}

const auditIn = async (store: Store, source: LogSource) =>
  auditLog(source, LOG_KEY, { state: await openKeptState(store) })

test('goes on where the log was at its end, and reads nothing twice that is whole', async () => {
  const store = openSqlite(':memory:')
  expect(await auditIn(store, logAt(300))).toMatchObject({ ok: true, size: 300, resumedAt: 0 })
  const read: string[] = []
  expect(
    await auditIn(
      store,
      logAt(780, (path) => read.push(path)),
    ),
  ).toMatchObject({ ok: true, size: 780, resumedAt: 300 })
  expect(read).not.toContain('tile/entries/000')
  expect(read).toContain('tile/entries/001')
  expect(await auditIn(store, logAt(780))).toMatchObject({ ok: true, size: 780, resumedAt: 780 })
})

test('comes to the same whenever it is killed, between any two writes', async () => {
  const store = openSqlite(':memory:')
  const stops = [1, 1, 2]
  let resumedAt = 0
  for (const stop of stops) {
    const faulty = createFaultyStore(store)
    faulty.setFaults((write) => (write === stop ? 'unanswered' : undefined))
    await expect(auditIn(faulty, logAt(780))).rejects.toMatchObject({ code: 'store-unavailable' })
    const { progress } = await openKeptState(store)
    expect(progress?.frontier.size).toBeGreaterThan(resumedAt)
    resumedAt = progress?.frontier.size ?? 0
  }
  const whole = await auditLog(logAt(780), LOG_KEY)
  expect(await auditIn(store, logAt(780))).toEqual({ ...whole, resumedAt })
  expect(whole).toMatchObject({ ok: true, problems: [] })
})

test('two audits of one log in one store do not spoil it', async () => {
  const store = openSqlite(':memory:')
  const [first, second] = [await openKeptState(store), await openKeptState(store)]
  const ends = await Promise.allSettled([first, second].map((state) => auditLog(logAt(520), LOG_KEY, { state })))
  expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(1)
  expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'conflict' } })
  expect(await auditIn(store, logAt(780))).toMatchObject({ ok: true, size: 780 })
})

describe('names the first entry at fault', () => {
  test('after others that are right, and again after it was stopped', async () => {
    const store = openSqlite(':memory:')
    const source = logAt(780)
    const liar: LogSource = {
      ...source,
      async tile(path) {
        const bytes = await source.tile(path)
        if (path === 'tile/0/002') bytes[32 * 17] = (bytes[32 * 17] ?? 0) ^ 1
        return bytes
      },
    }
    const found = {
      ok: false,
      entry: 2 * 256 + 17,
      problems: [`entry ${2 * 256 + 17}: tile/0/002 does not hold its hash`],
    }
    expect(await auditIn(store, liar)).toMatchObject({ ...found, resumedAt: 0 })
    const again = await auditIn(store, liar)
    expect(again).toMatchObject(found)
    expect(again.resumedAt).toBeGreaterThan(300)
    expect(await auditIn(store, source)).toMatchObject({ ok: true, size: 780 })
  })

  test('whose signature is not good, though all hashes are those of the log', async () => {
    const dir = join(folder, 'forged')
    const writer = createLogWriter(dir, [300])
    for (const [i, entry] of (await entriesOf(300)).entries()) writer.add(i === 277 ? forged(entry) : entry)
    const report = await auditLog(sourceInFolder(dir), LOG_KEY)
    expect(report).toMatchObject({ ok: false, entry: 277 })
    expect(report.problems).toEqual([expect.stringMatching(/^entry 277: The signature of the \w+ does not verify/)])
  })
})

describe('a copy that lags', () => {
  test.each(['tile/entries/001', 'tile/0/001', 'tile/1/000.p/3'])(
    'without %s is said to be behind, not wrong',
    async (gone) => {
      const source = logAt(780)
      const lagging: LogSource = {
        ...source,
        tile: (path) =>
          path === gone ? Promise.reject(new Problem('not-found', 'It is not there.')) : source.tile(path),
      }
      await expect(auditLog(lagging, LOG_KEY)).rejects.toMatchObject({ code: 'log-behind' })
      await expect(auditLog({ ...lagging, isCopy: false }, LOG_KEY)).resolves.toMatchObject({ ok: false })
    },
  )

  test('with an older checkpoint than was audited is said to be behind; a ledger’s own is at fault', async () => {
    const store = openSqlite(':memory:')
    await auditIn(store, logAt(520))
    await expect(auditIn(store, logAt(300))).rejects.toMatchObject({ code: 'log-behind' })
    expect(await auditIn(store, { ...logAt(300), isCopy: false })).toMatchObject({
      ok: false,
      problems: ['the checkpoint covers 300 entries, and 520 were audited before'],
    })
  })

  test('in a folder or a bucket that has nothing is not found', async () => {
    await expect(auditLog(sourceInFolder(join(folder, 'nothing')), LOG_KEY)).rejects.toMatchObject({
      code: 'not-found',
    })
    const bucket = (status: number) =>
      sourceAtUrl(
        realEnvironment({ transport: async () => new Response('<Error/>', { status }) }),
        'http://bucket.test',
      )
    await expect(auditLog(bucket(404), LOG_KEY)).rejects.toMatchObject({ code: 'not-found' })
    await expect(auditLog(bucket(403), LOG_KEY)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('that is of another log is found out', async () => {
    const other = noteKey('other.example/log', LOG_KEY.key)
    expect(await auditLog(logAt(300), other)).toMatchObject({
      ok: false,
      problems: [expect.stringMatching(/not signed/)],
    })
  })
})

test('a copy in a folder of its own is audited as it lies there', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'raincheck-copy-'))
  try {
    await mkdir(dirname(join(dir, 'checkpoint')), { recursive: true })
    await writeFile(join(folder, 'checkpoint'), await readFile(join(folder, 'checkpoint.780')))
    expect(await auditLog(sourceInFolder(folder), LOG_KEY)).toMatchObject({ ok: true, size: 780 })
  } finally {
    await rm(dir, { recursive: true })
  }
})

describe('cosignatures', () => {
  const witness = { name: 'witness.example/w1', signer: signerFrom(sha256(utf8('witness'))) }
  const vkey = formatVerifierKey(noteKey(witness.name, witness.signer.key, 'cosignature'))
  const policy = parseLogPolicy(`witness W ${vkey}\nquorum W\n`)
  const NOW_MS = 1_900_000_000_000
  const witnessed = (timeSeconds: number): LogSource => ({
    ...logAt(300),
    async checkpoint() {
      const note = await readFile(join(folder, 'checkpoint.300'), 'utf8')
      return addSignature(note, cosign(noteText(note), timeSeconds, witness))
    },
  })

  test('that are asked for and there are named', async () => {
    expect(await auditLog(witnessed(NOW_MS / 1000), LOG_KEY, { policy, nowMs: NOW_MS })).toMatchObject({
      ok: true,
      witnesses: [witness.name],
    })
  })

  test('that are missing, or old, are a problem', async () => {
    for (const source of [logAt(300), witnessed(NOW_MS / 1000 - 7200)]) {
      expect(await auditLog(source, LOG_KEY, { policy, nowMs: NOW_MS })).toMatchObject({
        ok: false,
        problems: [expect.stringMatching(/^the checkpoint is not witnessed: 0 of 1/)],
      })
    }
  })
})
