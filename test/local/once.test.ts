import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { realEnvironment } from '../../infra/environment.ts'
import { startNetwork, type Network } from '../../infra/local/network.ts'
import { once, type OnceReport } from '../../infra/local/once.ts'
import { id, money } from '../cli/shapes.ts'
import { documents, nodeStart, npmStart, type Ended } from './child.ts'
import { freePort } from './ports.ts'
import { scratch } from './scratch.ts'

const folder = scratch()
const data = folder()
const MiB = 1024 * 1024
const PIECE_BYTES = 4 * MiB

const movement = z.strictObject({ id, before: money, after: money })
const done = z.strictObject({
  event: z.literal('done'),
  infoHash: id,
  infoHashV1: z.string().regex(/^[0-9a-f]{40}$/),
  name: z.string(),
  bytes: z.int(),
  pieceLength: z.int(),
  pieces: z.int(),
  ticks: z.int(),
  paid: money,
  file: z.string(),
  sha256: id,
  seconds: z.number(),
  payer: movement,
  payee: movement,
  checkpoint: z.strictObject({ origin: z.string(), size: z.int(), rootHash: z.base64() }),
  audit: z.literal('ok'),
})

/** What one lost, the other gained: a credit a piece. */
function expectPaid(report: OnceReport, pieces: number): void {
  const { payer, payee, ticks, paid } = report
  const lost = BigInt(payer.before) - BigInt(payer.after)
  const gained = BigInt(payee.after) - BigInt(payee.before)
  expect([report.pieces, ticks, BigInt(paid), lost, gained]).toEqual([
    pieces,
    pieces,
    ...[paid, lost, gained].map(() => BigInt(pieces)),
  ])
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

describe('one paid download', () => {
  const environment = realEnvironment()
  let network: Network
  beforeAll(async () => {
    network = await startNetwork({ environment, dir: folder(), port: await freePort(), onFault: console.error })
  })
  afterAll(() => network.stop())
  const move = (file: string): Promise<OnceReport> => once({ environment, network, file, onProgress: () => undefined })

  test.each([
    [0, 0],
    [1, 1],
    [PIECE_BYTES - 1, 1],
    [PIECE_BYTES, 1],
    [PIECE_BYTES + 1, 2],
  ])('moves a file of %i bytes for %i pieces', async (bytes, pieces) => {
    const file = join(folder(), `file-${bytes}.bin`)
    const content = randomBytes(bytes)
    writeFileSync(file, content)
    const report = done.parse(await move(file))
    expect(report).toMatchObject({
      name: `file-${bytes}.bin`,
      bytes,
      pieceLength: PIECE_BYTES,
      sha256: sha256(content),
    })
    expect(report.file).toBe(join(network.you.files, `file-${bytes}.bin`))
    expect(readFileSync(report.file).equals(content)).toBe(true)
    expectPaid(report, pieces)
  })

  test.each([
    'sömmer & (2024) — ☔.txt',
    "it's -- 'quoted' $HOME.txt",
    '.hidden',
    '-dash',
    'e\u0301.txt',
    '旅'.repeat(85),
    `${'x'.repeat(251)}.bin`,
  ])('moves a file named %j, twice', async (name) => {
    const file = join(folder(), name)
    writeFileSync(file, name)
    const [first, second] = [await move(file), await move(file)]
    expect(first.name).toBe(name.normalize('NFC'))
    expect(first.file).not.toBe(second.file)
    for (const report of [first, second]) expect(readFileSync(report.file, 'utf8')).toBe(name)
  })

  test('moves a folder of nested, non-ASCII and empty files, and says the hash of its sums', async () => {
    const dir = join(folder(), 'Übersee 旅')
    const files = { 'ä/ö/ü.txt': 'one', 'ä/leer': '', 'Ж/a b.txt': 'two', 'z.txt': 'three' }
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      writeFileSync(join(dir, path), text)
    }
    const report = await move(dir)
    expectPaid(report, 3)
    for (const [path, text] of Object.entries(files)) expect(readFileSync(join(report.file, path), 'utf8')).toBe(text)
    const paths = Object.keys(files).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const sums = paths.map((path) => `${sha256(readFileSync(join(dir, path)))}  ${path}\n`)
    expect(report.sha256).toBe(sha256(sums.join('')))
  })

  test('moves what a link leads to', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'target.txt'), 'target')
    symlinkSync('target.txt', join(dir, 'link.txt'))
    const report = await move(join(dir, 'link.txt'))
    expect([report.name, readFileSync(report.file, 'utf8')]).toEqual(['link.txt', 'target'])
  })

  test('moves nothing that no torrent may be named', async () => {
    const file = join(folder(), 'line\nbreak')
    writeFileSync(file, '')
    await expect(move(file)).rejects.toThrow('control character')
  })

  test('ends where the owner has stopped the agent, with the reason', async () => {
    const file = join(folder(), 'stopped.bin')
    writeFileSync(file, randomBytes(1000))
    const { guard } = network.you.agent
    await guard.change({ stopped: true })
    await expect(move(file)).rejects.toThrow(/has stopped.*`raincheck start`/)
    await guard.change({ stopped: false })
  })

  test('moves no folder into itself', async () => {
    await expect(move(dirname(dirname(network.you.files)))).rejects.toThrow('cannot be copied')
  })
})

describe('npm start -- --once', () => {
  async function run(file: string, dir = data): Promise<Ended> {
    return nodeStart(['--data', dir, '--port', String(await freePort()), '--json', '--once', file]).ended
  }

  function reportOf(ended: Ended): OnceReport {
    expect(ended).toMatchObject({ code: 0, err: '' })
    const [ready, last, ...more] = documents(ended)
    expect([ready?.['event'], more]).toEqual(['ready', []])
    return done.parse(last)
  }

  test('says what happened in its last line, and again in the same folder', async () => {
    const file = join(folder(), 'again.bin')
    writeFileSync(file, randomBytes(100_000))
    const first = reportOf(await run(file))
    const second = reportOf(await run(file))
    expect(second).toMatchObject({ infoHash: first.infoHash, sha256: first.sha256 })
    expect([second.payer.before, second.payee.before]).toEqual([first.payer.after, first.payee.after])
    expect(second.file).not.toBe(first.file)
    expect(second.checkpoint.size).toBeGreaterThan(first.checkpoint.size)
    expectPaid(second, 1)
  })

  test('through npm, tells a person what happened', async () => {
    const port = String(await freePort())
    const { code, out } = await npmStart(['--data', data, '--port', port, '--once', 'README.md']).ended
    expect(code).toBe(0)
    expect(out).toMatch(/^README.*\.md: .* in .* s, 1 piece, 1 credit\n {2}copy {4}\/.*\n {2}you .*\n/m)
  })

  test.each(['missing.bin', '/dev/null'])('says in one line that %s is nothing to move', async (file) => {
    const { code, err, out } = await run(file)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^raincheck: There is no file or folder \/.*\.\n$/)
  })

  test('says in one line what cannot be moved', async () => {
    const { code, err } = await run(data)
    expect(code).toBe(1)
    expect(err).toMatch(/^raincheck: .* cannot be copied: .*\n$/)
  })
})
