import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { Encrypter } from 'age-encryption'
import { describe, expect, test } from 'vitest'
import { scratch } from '../local/scratch.ts'
import * as shapes from './shapes.ts'
import { openTown, raincheck } from './town.ts'

const town = openTown()
const folder = scratch()

describe('init', () => {
  test('makes a key that only its owner may read, and is the same again when repeated', async () => {
    const home = join(folder(), 'new', 'home')
    const first = shapes.owner.parse((await raincheck(home, ['init', '--json'])).json())
    expect((await raincheck(home, ['init', '--json'])).json()).toEqual(first)
    expect((await raincheck(home, ['whoami', '--json'])).json()).toEqual(first)
    expect(statSync(join(home, 'key')).mode & 0o777).toBe(0o600)
    expect(statSync(home).mode & 0o777).toBe(0o700)
  })

  test('whoami without a key says to run init', async () => {
    const said = await raincheck(folder(), ['whoami'])
    expect(said).toMatchObject({ code: 3, out: '' })
    expect(said.err).toMatch(/^raincheck: No identity in .*: run `raincheck init` first\. \(not-found\)\n$/)
  })

  test('a home that cannot be made is one line', async () => {
    const file = join(folder(), 'file')
    writeFileSync(file, '')
    const said = await raincheck(join(file, 'home'), ['init'])
    expect(said.code).not.toBe(0)
    expect(said.err.split('\n')).toHaveLength(2)
  })
})

/** The owner's key under a passphrase that takes less work to open than what `init` makes. */
async function lock(home: string, passphrase: string): Promise<void> {
  for (const name of ['identity.json', 'settings.json']) await cp(join(town.you.home, name), join(home, name))
  const encrypter = new Encrypter()
  encrypter.setPassphrase(passphrase)
  encrypter.setScryptWorkFactor(8)
  writeFileSync(join(home, 'key.age'), await encrypter.encrypt(readFileSync(join(town.you.home, 'key'), 'utf8').trim()))
}

describe('a key under a passphrase', () => {
  const home = folder()
  const file = join(home, 'passphrase')
  writeFileSync(file, 'correct horse battery staple\n')

  test('is kept as an age file and nowhere in the clear', async () => {
    const made = shapes.owner.parse((await raincheck(home, ['init', '--passphrase-file', file, '--json'])).json())
    expect(existsSync(join(home, 'key'))).toBe(false)
    expect(readFileSync(join(home, 'key.age'), 'latin1')).toMatch(/^age-encryption\.org\/v1\n-> scrypt /)
    const again = await raincheck(home, ['init', '--json'], { passphraseFile: file })
    expect(again.json()).toEqual(made)
  })

  test('signs what its owner asks of an agent, and opens with nothing else', async () => {
    const locked = folder()
    await lock(locked, 'correct horse battery staple')
    const said = await raincheck(locked, ['balance', '--json', '--passphrase-file', file])
    expect(shapes.balance.parse(said.json()).available).toBe('1000000')
    expect(await raincheck(locked, ['balance'])).toMatchObject({
      code: 5,
      err: expect.stringContaining('--passphrase-file'),
    })
    writeFileSync(join(locked, 'wrong'), 'incorrect horse\n')
    const wrong = await raincheck(locked, ['balance', '--passphrase-file', 'wrong', '--json'])
    expect(wrong.code).toBe(5)
    expect(shapes.problem.parse(wrong.json())).toMatchObject({ code: 'forbidden' })
  })

  test('is asked for by a file that is there and holds something', async () => {
    writeFileSync(join(home, 'empty'), '\n')
    const empty = await raincheck(join(home, 'none'), ['init', '--passphrase-file', join(home, 'empty')])
    expect(empty).toMatchObject({ code: 1, err: expect.stringContaining('no passphrase') })
    const missing = await raincheck(join(home, 'none'), ['init', '--passphrase-file', 'nowhere'])
    expect(missing).toMatchObject({ code: 3, err: expect.stringContaining('nowhere') })
    expect(existsSync(join(home, 'none'))).toBe(false)
  })

  test('is not promised for a key that lies in the clear', async () => {
    const plain = folder()
    await raincheck(plain, ['init'])
    const said = await raincheck(plain, ['init', '--passphrase-file', file])
    expect(said).toMatchObject({ code: 1, err: expect.stringContaining('without a passphrase') })
    expect(said.err).toContain('raincheck rotate --passphrase-file')
    expect((await raincheck(plain, ['rotate', '--passphrase-file', file])).code).toBe(0)
    expect([existsSync(join(plain, 'key')), existsSync(join(plain, 'key.age'))]).toEqual([false, true])
  })
})

describe('settings', () => {
  test('name the agent, and RAINCHECK_AGENT overrides them', async () => {
    expect((await town.you.raincheck('links')).code).toBe(0)
    const overridden = await town.you.with({ agentUrl: `http://127.0.0.1:${town.port}/` })('links')
    expect(overridden.code).toBe(0)
    const nobody = await town.you.with({ agentUrl: 'http://127.0.0.1:1' })('links')
    expect(nobody).toMatchObject({ code: 1, out: '', err: expect.stringContaining('No agent answers') })
    const other = await town.you.with({ agentUrl: town.network().ledgerUrl })('links')
    expect(other).toMatchObject({ code: 1, err: expect.stringContaining('is no agent') })
    const silent = await town.you.raincheck('claim', 'http://127.0.0.1:1')
    expect(silent).toMatchObject({ code: 1, err: expect.stringContaining('http://127.0.0.1:1 could not be reached') })
    const claimed = await town.you.raincheck('claim', `http://127.0.0.1:${town.port}`)
    expect(claimed).toMatchObject({ code: 3, err: expect.stringContaining('is no agent in the cloud') })
    const byName = await town.you.with({ agentUrl: `http://localhost:${town.port}` })('links')
    expect(byName.err).toContain(`another authority than 127.0.0.1:${town.port}`)
    const noUrl = await town.you.with({ agentUrl: 'somewhere' })('links')
    expect(noUrl).toMatchObject({ code: 2, err: expect.stringContaining('RAINCHECK_AGENT') })
  })

  test('that are missing or broken are named', async () => {
    const home = folder()
    await raincheck(home, ['init'])
    const nowhere = await raincheck(home, ['links'])
    expect(nowhere).toMatchObject({ code: 2, err: expect.stringContaining('settings.json') })
    expect(nowhere.err).toContain('RAINCHECK_HOME')
    writeFileSync(join(home, 'settings.json'), '{')
    expect(await raincheck(home, ['links'])).toMatchObject({ code: 1, err: expect.stringContaining('not JSON') })
  })

  test('that name another owner’s agent are a matter of trust', async () => {
    const said = await town.you.with({ agentUrl: `http://127.0.0.1:${town.port + 3}` })('links', '--json')
    expect(said.code).toBe(5)
    expect(shapes.problem.parse(said.json())).toMatchObject({ code: 'unknown-key' })
  })
})

describe('words that are off', () => {
  test.each([
    [['nonsense'], 'there is no command'],
    [['serach', 'x'], 'Did you mean `search`?'],
    [['help', 'serach'], 'Did you mean `search`?'],
    [['ledger'], "'ledger' needs a subcommand: key"],
    [['get'], 'usage: raincheck get'],
    [['get', 'a', 'b'], 'usage: raincheck get'],
    [['get', 'a', '--frob'], '--frob'],
    [['get', '0'.repeat(64), '--max-price', '1.5'], '--max-price'],
    [['share', 'a', '--price', '-1'], "'--price' argument may not begin with a dash"],
    [['share', 'a', '--price', '99999999999999999999'], '18 digits at most'],
    [['readers', '--add', 'foo'], "'foo' is not a key"],
    [['circle', 'lab', '--add', 'foo'], "'foo' is not an id"],
    [['circle', ''], "'' names no circle"],
    [['unshare', 'foo'], "'foo' is not an info hash"],
    [['cancel', '../x'], "'../x' is not the id of a download"],
    [['link', 's3', '--bucket', 'x'], "'x' names no bucket"],
    [['link', 'drive', '--client-id', 'x'], '--client-secret'],
    [['send', 'f'.repeat(64), '1', '--to-ledger', 'foo'], "The URL of the ledger is 'foo'"],
    [['usage', '--since', '30d ago'], 'such as 30d'],
    [['share', 'a', '--price', '1e3'], '--price'],
    [['link', 's3x', '/tmp'], 's3x'],
    [['link'], 'There are folder, s3, drive, dropbox'],
    [['trust', 'abc'], 'not an id'],
    [['vouch', 'f'.repeat(64), '--depth', '9'], '--depth'],
    [['vouch', 'f'.repeat(64), '--expires', 'soon'], '--expires'],
    [['usage', '--since', 'yesterday'], '--since'],
    [['graph', 'edges.csv'], '--root'],
    [['audit', 'ftp://x'], "The URL of the ledger is 'ftp://x'"],
  ])('%j end with 2 and one line', async (words, line) => {
    const said = await town.you.raincheck(...words)
    expect(said).toMatchObject({ code: 2, out: '' })
    expect(said.err).toContain(line)
    expect(said.err.split('\n')).toHaveLength(2)
    const asJson = await town.you.raincheck(...words, '--json')
    expect(asJson).toMatchObject({ code: 2, err: '' })
    expect(shapes.problem.parse(asJson.json())).toMatchObject({ code: 'bad-request' })
  })
})

test('help names every command, and one command’s words', async () => {
  const all = await town.you.raincheck('help')
  expect(all).toMatchObject({ code: 0, err: '' })
  const commands = (await town.you.raincheck('--json')).json<{ command: string; usage: string }[]>()
  for (const { command, usage } of commands) {
    expect(all.out).toContain(`  ${`${command} ${usage}`.trim()}\n`)
    const one = await town.you.raincheck(...command.split(' '), '--help')
    expect(one.out).toContain(`usage: raincheck ${command}`)
    expect(await town.you.raincheck('help', ...command.split(' '))).toEqual({ ...one, json: expect.anything() })
  }
})

test('help on the first of two words lists the commands that begin with it', async () => {
  const said = await town.you.raincheck('help', 'ledger')
  expect(said).toMatchObject({ code: 0, err: '' })
  for (const words of ['ledger key FILE', 'ledger show', 'ledger certify']) expect(said.out).toContain(`  ${words}`)
  expect(said.out).not.toContain('audit')
})

test('without a command, a few to begin with are named, and how to see all', async () => {
  const said = await town.you.raincheck()
  expect(said).toMatchObject({ code: 0, err: '' })
  expect(said.out.split('\n').length).toBeLessThan(24)
  for (const words of ['  search QUERY\n', '  get INFOHASH', '  doctor\n', '`raincheck help` lists all'])
    expect(said.out).toContain(words)
})
