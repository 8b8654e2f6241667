import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { id, money } from '../cli/shapes.ts'
import { documents, npmStart, ROOT, start, type Ended } from './child.ts'
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
type Done = z.output<typeof done>

/** Without npm, which takes longer than the download. */
async function once(file: string, dir = data): Promise<Ended> {
  const port = String(await freePort())
  const words = ['--disable-warning=ExperimentalWarning', 'infra/local/main.ts']
  return start(join(ROOT, 'node_modules/.bin/node'), [
    ...words,
    '--data',
    dir,
    '--port',
    port,
    '--json',
    '--once',
    file,
  ]).ended
}

function reportOf(ended: Ended): Done {
  expect(ended).toMatchObject({ code: 0, err: '' })
  const [ready, last, ...more] = documents(ended)
  expect([ready?.['event'], more]).toEqual(['ready', []])
  return done.parse(last)
}

/** What one lost, the other gained: a credit a piece. */
function expectPaid(report: Done, pieces: number): void {
  const moved = String(BigInt(report.payer.before) - BigInt(report.payer.after))
  const gained = String(BigInt(report.payee.after) - BigInt(report.payee.before))
  expect([report.pieces, report.ticks, report.paid, moved, gained]).toEqual([
    pieces,
    pieces,
    String(pieces),
    String(pieces),
    String(pieces),
  ])
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

describe('npm start -- --once', () => {
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
    const report = reportOf(await once(file))
    expect(report).toMatchObject({
      name: `file-${bytes}.bin`,
      bytes,
      pieceLength: PIECE_BYTES,
      sha256: sha256(content),
    })
    expect(report.file).toBe(join(data, 'you', 'files', `file-${bytes}.bin`))
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
  ])('moves a file named %j', async (name) => {
    const file = join(folder(), name)
    writeFileSync(file, name)
    const report = reportOf(await once(file))
    expect(report.name).toBe(name.normalize('NFC'))
    expect(readFileSync(report.file, 'utf8')).toBe(name)
  })

  test('says in one line what no torrent may be named', async () => {
    const file = join(folder(), 'line\nbreak')
    writeFileSync(file, '')
    const { code, err } = await once(file)
    expect(code).toBe(1)
    expect(err).toMatch(/^raincheck: .*control character.*\n$/)
  })

  test('moves a folder of nested, non-ASCII and empty files, and says the hash of its sums', async () => {
    const dir = join(folder(), 'Übersee 旅')
    const files = { 'ä/ö/ü.txt': 'one', 'ä/leer': '', 'Ж/a b.txt': 'two', 'z.txt': 'three' }
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true })
      writeFileSync(join(dir, path), text)
    }
    const report = reportOf(await once(dir))
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
    const report = reportOf(await once(join(dir, 'link.txt')))
    expect([report.name, readFileSync(report.file, 'utf8')]).toEqual(['link.txt', 'target'])
  })

  test('does it again in the same folder, beside the first copy', async () => {
    const [dir, file] = [folder(), join(folder(), 'again.bin')]
    writeFileSync(file, randomBytes(100_000))
    const first = reportOf(await once(file, dir))
    const second = reportOf(await once(file, dir))
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
    const { code, err, out } = await once(file)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^raincheck: There is no file or folder \/.*\.\n$/)
  })

  test('says in one line that a folder cannot be moved into itself', async () => {
    const { code, err } = await once(data)
    expect(code).toBe(1)
    expect(err).toMatch(/^raincheck: .* cannot be copied: .*\n$/)
  })
})
