import { describe, expect, test } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import * as shapes from './shapes.ts'
import { eventually, openTown, raincheck, type Person } from './town.ts'

const town = openTown()
const { you, neighbour } = town

const balance = async (person: Person) => shapes.balance.parse(await person.ask('balance'))
const statement = async (person: Person) => shapes.statement.parse(await person.ask('statement'))
const sum = (values: readonly string[]): string => values.reduce((total, value) => total + BigInt(value), 0n).toString()

async function buy(name: string, bytes: number, price: string) {
  await neighbour.put(name, bytes)
  const share = shapes.share.parse(await neighbour.ask('share', name, '--price', price))
  return shapes.download.parse(await you.ask('get', share.infoHash, '--wait'))
}

describe('balance', () => {
  test('starts with what the faucet gives', async () => {
    expect(await balance(you)).toEqual({ available: '1000000', frozen: '0', earned: '0', bonds: '0', outstanding: '0' })
    expect((await you.raincheck('balance')).out).toBe(
      'available    1000000\nfrozen       0\nearned       0\nbonds        0\noutstanding  0\n',
    )
  })

  test('moves by what was paid, from one owner to the other', async () => {
    expect(await buy('bought.bin', 9_000_000, '7')).toMatchObject({ paid: '21' })
    expect(
      await eventually(
        () => balance(you),
        ({ frozen }) => frozen === '0',
      ),
    ).toMatchObject({ available: '999979' })
    expect(
      await eventually(
        () => balance(neighbour),
        ({ available }) => available === '1000021',
      ),
    ).toEqual({
      available: '1000021',
      frozen: '0',
      earned: '0',
      bonds: '0',
      outstanding: '0',
    })
  })
})

describe('redeem', () => {
  test.each([[[]], [['--all']]])('with %j answers with the balance after it', async (words) => {
    expect(shapes.balance.parse(await neighbour.ask('redeem', ...words))).toEqual(await balance(neighbour))
  })
})

describe('statement', () => {
  test('is the balance and the entries that add up to it', async () => {
    const columns = ['available', 'frozen', 'earned', 'bonds'] as const
    const complete = await eventually(
      () => statement(you),
      (read) => columns.every((column) => sum(read.entries.map((entry) => entry[column])) === read[column]),
    )
    expect(complete).toMatchObject(await balance(you))
    expect(complete).toMatchObject({ frozen: '0' })
    expect(complete.entries.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['register', 'delegate', 'declare', 'claim', 'redeem', 'release']),
    )
    const { out } = await you.raincheck('statement')
    expect(out.split('\n')).toHaveLength(complete.entries.length + 3)
    expect(out).toMatch(/^ENTRY +TIME +KIND +AVAILABLE +FROZEN +EARNED +BONDS\n/)
  })
})

describe('audit', () => {
  test('of the owner’s ledger, or of any by its URL, without a home', async () => {
    const report = shapes.audit.parse(await you.ask('audit'))
    expect(report).toMatchObject({ ok: true, origin: 'raincheck.local/ledger', problems: [] })
    expect(report.size).toBeGreaterThan(5)
    const said = await raincheck('/nowhere', ['audit', `${town.network().ledgerUrl}/`, '--json'])
    expect(shapes.audit.parse(said.json())).toMatchObject({ ok: true })
    expect((await you.raincheck('audit')).out).toMatch(/^raincheck\.local\/ledger: \d+ entries, root \S+: ok\n$/)
  })

  test('of a ledger that does not answer fails', async () => {
    const said = await you.raincheck('audit', 'http://127.0.0.1:1', '--json')
    expect(said.code).toBe(1)
    expect(shapes.problem.parse(said.json())).toMatchObject({ code: 'peer-failed' })
  })

  test('shows how far it is on a terminal alone', async () => {
    const said = await you.with({ isTerminal: true })('audit', '--json')
    expect(said.err).toMatch(/audited \d+ of \d+ entries/)
    expect(said.json()).toMatchObject({ ok: true })
  })

  test('ends at once when it is interrupted', async () => {
    const controller = new AbortController()
    const said = you.with({ signal: controller.signal })('audit')
    controller.abort(new Error('interrupted'))
    expect(await said).toMatchObject({ code: 130, out: '' })
  })
})

describe('usage', () => {
  test('counts what was stored, served and fetched', async () => {
    expect(shapes.usage.parse(await you.ask('usage'))).toMatchObject({
      id: you.id(),
      since: 0,
      stored: 9_000_000,
      served: 0,
      fetched: 9_000_000,
    })
    expect(shapes.usage.parse(await neighbour.ask('usage'))).toMatchObject({ served: 9_000_000, fetched: 0 })
    expect((await you.raincheck('usage')).out).toBe('stored   8.58 MiB\nserved   0 B\nfetched  8.58 MiB\n')
  })

  test.each(['2020-01-01', '1577836800000', '30d'])('takes --since %s', async (since) => {
    expect(shapes.usage.parse(await you.ask('usage', '--since', since))).toMatchObject({ fetched: 9_000_000 })
  })

  test('counts nothing of days to come', async () => {
    const tomorrow = String(Date.now() + limits.announcementMs)
    expect(shapes.usage.parse(await you.ask('usage', '--since', tomorrow))).toMatchObject({ fetched: 0, stored: 0 })
  })
})
