/** `raincheck audit` and `raincheck proofs` as an owner, or anybody, calls them. */
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { formatVerifierKey } from '../../protocol/checkpoint.ts'
import { LOG_KEY } from '../bench/log-writer.ts'
import { makeLog } from '../bench/made-log.ts'
import { examplesIn, readPage } from '../docs/page.ts'
import { scratch } from '../local/scratch.ts'
import { raincheck } from './town.ts'

const vkey = formatVerifierKey(LOG_KEY)
const newFolder = scratch()
const io = { openStore: async (path: string) => openSqlite(path) }
let tiles: string
beforeAll(async () => {
  tiles = newFolder()
  await makeLog(tiles, [300, 400])
})

const show = (size: number) => copyFile(join(tiles, `checkpoint.${size}`), join(tiles, 'checkpoint'))
const audit = (home: string, ...words: string[]) =>
  raincheck(home, ['audit', '--vkey', vkey, tiles, '--json', ...words], io)

test('a copy of a log is audited where it lies, and goes on where the last audit was', async () => {
  const home = newFolder()
  await show(300)
  expect((await audit(home)).json()).toMatchObject({ ok: true, size: 300, resumedAt: 0 })
  await show(400)
  expect((await audit(home, '--resume')).json()).toMatchObject({ ok: true, size: 400, resumedAt: 300 })
  expect((await audit(home, '--fresh')).json()).toMatchObject({ ok: true, size: 400, resumedAt: 0 })
  await show(300)
  const lagging = await audit(home)
  expect({ code: lagging.code, ...lagging.json<object>() }).toMatchObject({ code: 'log-behind' })
  expect(lagging.code).toBe(1)
  await show(400)
})

test('an owner who names witnesses wants their cosignatures', async () => {
  const home = newFolder()
  const [policy] = examplesIn(readPage('docs/protocol/witness-api.md')).filter(({ name }) => name === 'witness.policy')
  await writeFile(join(home, 'witnesses'), `${policy?.text}\n`)
  const said = await audit(home)
  expect(said.json()).toMatchObject({ ok: false, problems: [expect.stringContaining('not witnessed')] })
  expect(said.code).toBe(1)
  await writeFile(join(home, 'witnesses'), 'quorum W9\n')
  expect((await audit(home)).json()).toMatchObject({
    code: 'bad-encoding',
    detail: expect.stringContaining('witnesses'),
  })
})

test('words that do not go together are told', async () => {
  const home = newFolder()
  expect((await raincheck(home, ['audit', '--vkey', vkey], io)).code).toBe(2)
  expect((await audit(home, '--resume', '--fresh')).code).toBe(2)
  expect((await raincheck(home, ['audit', '--vkey', 'nonsense', tiles, '--json'], io)).json()).toMatchObject({
    code: 'bad-encoding',
  })
})

test('anybody can check a proof of two histories', async () => {
  const home = newFolder()
  const [fork] = examplesIn(readPage('docs/protocol/breaches.md')).filter(({ name }) => name === 'breach.fork')
  const file = join(home, 'proof.json')
  await writeFile(file, fork?.text ?? '')
  const said = await raincheck(home, ['proofs', '--verify', file, '--json'], io)
  expect(said.json()).toEqual([
    expect.objectContaining({
      kind: 'fork',
      origin: 'ledger.example/log',
      detail: expect.stringContaining('two checkpoints of size 2'),
    }),
  ])
  expect(said.code).toBe(0)
  await writeFile(file, (await readFile(file, 'utf8')).replace('"notes"', '"note"'))
  expect((await raincheck(home, ['proofs', '--verify', file, '--json'], io)).json()).toMatchObject({
    code: 'bad-encoding',
  })
})
