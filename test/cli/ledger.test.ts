/** Those who decide about a ledger, each with a key file and the command, at a ledger over HTTP. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { listen, type Listening } from '../../infra/serve.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { fromHex, type Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { sell } from '../../protocol/issuance.ts'
import { envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { ORIGIN, SECRET } from '../ledger/kit.ts'
import { scratch } from '../local/scratch.ts'
import { raincheck } from './town.ts'

const environment = realEnvironment()
const dir = scratch()()
const path = (name: string): string => join(dir, name)
let url: string
let server: Listening
const faults: unknown[] = []

const say = (words: readonly string[]) => raincheck(dir, [...words, '--json'])
const asked = async (...words: string[]) => {
  const said = await say([...words, '--ledger', url])
  expect({ words, ...said }).toMatchObject({ code: 0, err: '' })
  return said.json()
}
const refused = async (...words: string[]) => (await say([...words, '--ledger', url])).json()['code']
const read = async (place: string) => (await (await fetch(`${url}${place}`)).json()) as Record<string, unknown>

beforeAll(async () => {
  const keys: string[] = []
  for (const name of ['ada', 'ben', 'eve', 'issuer', 'authority', 'stranger'])
    keys.push(String((await say(['ledger', 'key', path(name)])).json()['key']))
  const [ada, ben, eve, issuer, authority] = keys.map((key) => fromHex(key)) as [Bytes, Bytes, Bytes, Bytes, Bytes]
  const ledger = createLedger({
    environment,
    store: openSqlite(':memory:'),
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: 0n, unitPrice: 1n, issuer, federation: { keys: [ada, ben, eve], authority } },
    onFault: (fault) => faults.push(fault),
  })
  server = await listen({ fetch: ledger.app.fetch, port: 0, hostname: '127.0.0.1' })
  url = `http://127.0.0.1:${server.port}`
})
afterAll(() => server.close())

test('a key is made once, for its owner alone, and shown again; or encrypted', async () => {
  const [made, again] = [await say(['ledger', 'key', path('new')]), await say(['ledger', 'key', path('new')])]
  expect(made.json()).toMatchObject({ made: true })
  expect(again.json()).toEqual({ key: made.json()['key'], made: false })
  expect((await stat(path('new'))).mode & 0o777).toBe(0o600)
  await writeFile(path('passphrase'), 'a long one\n')
  await say(['ledger', 'key', path('sealed'), '--passphrase-file', path('passphrase')])
  expect(await readFile(path('sealed'), 'latin1')).toContain('age-encryption.org/v1')
  expect((await say(['ledger', 'key', path('sealed')])).json()['code']).toBe('forbidden')
})

test('a price is signed by one, then by another, and only then taken', async () => {
  const order = path('price.json')
  expect((await say(['ledger', 'price', '3', '--key', path('ada'), '--ledger', url])).code).toBe(2)
  const begun = await asked('ledger', 'price', '3', '--key', path('ada'), '--in', '7d', '--out', order)
  expect(begun).toMatchObject({ kind: 'price', seq: 1, missing: 1 })
  expect(await refused('ledger', 'order', order, '--send')).toBe('forbidden')
  expect(await refused('ledger', 'order', order, '--key', path('ada'))).toBe('conflict')
  expect(await refused('ledger', 'order', order, '--key', path('stranger'))).toBe('unknown-key')
  expect(await asked('ledger', 'order', order)).toMatchObject({ missing: 1, says: begun['says'] })
  const taken = await asked('ledger', 'order', order, '--key', path('eve'), '--send')
  expect(taken).toMatchObject({ missing: 0, says: begun['says'] })
  expect(await asked('ledger', 'order', order, '--send')).toEqual(taken)
  expect(await read('/v1/ledger')).toMatchObject({ unitPrice: '1', price: { seq: 1, unitPrice: '3' } })
  expect(await asked('ledger', 'price', '4', '--key', path('ben'), '--out', order)).toMatchObject({ seq: 2 })
})

test('a peer is trusted by a majority, up to a limit', async () => {
  const other = formatVerifierKey(noteKey('other.example/log', signerFrom(new Uint8Array(32).fill(7)).key))
  await writeFile(path('policy'), `log ${other}\nquorum none\n`)
  const order = path('peer.json')
  await asked('ledger', 'peer', path('policy'), '--limit', '5000', '--key', path('ben'), '--out', order)
  await asked('ledger', 'order', order, '--key', path('ada'), '--send')
  expect(await read('/v1/peers')).toMatchObject({ peers: [{ limit: '5000', seq: 1 }] })
  const next = await asked('ledger', 'peer', path('policy'), '--limit', '0', '--key', path('ben'), '--out', order)
  expect(next).toMatchObject({ seq: 2, missing: 1 })
})

const home = join(dir, 'home')
/** The owner's own command. */
const own = async (...words: string[]) => (await raincheck(home, [...words, '--json'])).json()

test('the authority says who may open an account, and an owner opens it with that', async () => {
  const id = String((await own('init'))['id'])
  expect(await own('register', '--ledger', url)).toMatchObject({ code: 'forbidden' })
  const certify = ['ledger', 'certify', id, '--out', path('membership.json'), '--key']
  await say([...certify, path('ada')])
  expect(await own('register', path('membership.json'), '--ledger', url)).toMatchObject({ code: 'forbidden' })
  expect((await say([...certify, path('authority'), '--for', '30d'])).json()).toMatchObject({ member: id })
  const joined = { id, ledger: url, available: '0' }
  expect(await own('register', path('membership.json'), '--ledger', url)).toEqual(joined)
  expect(await own('register', '--ledger', url)).toEqual(joined)
  expect((await say([...certify, path('authority'), '--for', '999d'])).json()['code']).toBe('bad-encoding')
  expect(await own('register', path('price.json'), '--ledger', url)).toMatchObject({ code: 'bad-encoding' })
})

test('the issuer gives credits for a payment, once; nobody else does', async () => {
  const id = String((await own('whoami'))['id'])
  const words = ['ledger', 'buy', id, '500', '--reference', 'pi_7Qm2', '--key']
  expect(await refused(...words, path('ada'))).toBe('forbidden')
  expect(await asked(...words, path('issuer'))).toMatchObject({ amount: '500', reference: 'pi_7Qm2' })
  expect(await asked(...words, path('issuer'))).toMatchObject({ amount: '500' })
  expect(await refused('ledger', 'buy', id, '501', '--reference', 'pi_7Qm2', '--key', path('issuer'))).toBe('conflict')
  expect(await read(`/v1/accounts/${id}`)).toMatchObject({ available: '500' })
})

test('an owner gives credits up, and the issuer takes them out, once; neither does alone', async () => {
  await writeFile(join(home, 'settings.json'), JSON.stringify({ ledger: url }))
  const sale = path('sale.json')
  const offered = await own('payout', '200', '--reference', 'po_41Xc', '--out', sale)
  expect(offered).toMatchObject({ amount: '200', reference: 'po_41Xc' })
  expect(await asked('ledger', 'sell', sale)).toEqual(offered)
  expect(await refused('ledger', 'sell', sale, '--key', path('ada'))).toBe('forbidden')
  const taken = await asked('ledger', 'sell', sale, '--key', path('issuer'))
  expect(taken).toMatchObject(offered)
  expect(await asked('ledger', 'sell', sale, '--key', path('issuer'))).toEqual(taken)
  expect(await read(`/v1/accounts/${String(offered['account'])}`)).toMatchObject({ available: '300' })
  await own('payout', '301', '--reference', 'po_2', '--out', sale)
  expect(await refused('ledger', 'sell', sale, '--key', path('issuer'))).toBe('funds-insufficient')
  expect((await raincheck(home, ['payout', '1', '--reference', 'po_3'])).code).toBe(2)
})

test('what is offered for longer than there are dates is shown all the same', async () => {
  const terms = { account: new Uint8Array(32), amount: 7n, expires: Number.MAX_SAFE_INTEGER, reference: 'po_4' }
  const sale = sell({ ...terms, ledger: new Uint8Array(32) }, signerFrom(SECRET))
  await writeFile(path('endless.json'), JSON.stringify({ sell: envelopeToJson(sale) }))
  expect((await raincheck(dir, ['ledger', 'sell', path('endless.json')])).out).toContain('until 9007199254740991')
})

test('a ledger is shown with its price, those who decide and the ledgers that it trusts', async () => {
  const shown = (await say(['ledger', 'show', url])).json()
  expect(shown).toMatchObject({ unitPrice: '1', price: { unitPrice: '3' }, federation: { majority: 2 } })
  expect(shown['peers']).toMatchObject([{ limit: '5000', received: '0', sent: '0' }])
  const { out } = await raincheck(dir, ['ledger', 'show', url])
  expect(out).toMatch(/a unit +1; 3 from \d{4}-/)
  expect(out).toMatch(/a new account +0, with a membership/)
})

test.each([
  ['price', '1.5', '--key', 'ada'],
  ['price', '3', '--key', 'ada', '--in', 'soon'],
  ['price', '3'],
  ['buy', 'nobody', '5', '--reference', 'r', '--key', 'issuer'],
  ['buy', 'ab'.repeat(32), '-5', '--reference', 'r', '--key', 'issuer'],
  ['buy', 'ab'.repeat(32), '5', '--key', 'issuer'],
  ['peer', 'policy', '--key', 'ada'],
  ['certify', 'nobody', '--key', 'authority', '--out', 'm'],
  ['certify', 'ab'.repeat(32), '--key', 'authority'],
  ['price', '3', '--key', 'ada', '--in', '100000000d'],
  ['nothing'],
])('%s %s … is not understood', async (...words) => {
  expect((await say(['ledger', ...words, '--ledger', url])).code).toBe(2)
})

test.each(['', '[]', '{"price":[]}', '{"price":[{}]}', '{"buy":[{}]}', '{"price":[],"peer":[]}'])(
  'a file that holds %s is no order',
  async (content) => {
    await writeFile(path('spoiled.json'), content)
    expect(await refused('ledger', 'order', path('spoiled.json'), '--key', path('ada'))).toMatch(/^bad-/)
  },
)

test('nothing of all that was a fault of the ledger', () => {
  expect(faults).toEqual([])
})
