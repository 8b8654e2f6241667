/** Those who decide about a ledger, each with a key file and the command, at a ledger over HTTP. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { listen, type Listening } from '../../infra/serve.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
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
  for (const name of ['ada', 'ben', 'eve', 'issuer', 'stranger'])
    keys.push(String((await say(['ledger', 'key', path(name)])).json()['key']))
  const [ada, ben, eve, issuer] = keys.map((key) => fromHex(key)) as [Bytes, Bytes, Bytes, Bytes]
  const ledger = createLedger({
    environment,
    store: openSqlite(':memory:'),
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: 0n, unitPrice: 1n, issuer, federation: { keys: [ada, ben, eve] } },
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

test('the issuer gives credits for a payment, once; nobody else does', async () => {
  const identity = genesis([signerFrom(environment.random.bytes(32))], environment.clock.now())
  const id = toHex(objectId('identity', identity.body))
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ identity: envelopeToJson(identity) })
  expect((await fetch(`${url}/v1/accounts`, { method: 'POST', headers, body })).status).toBe(201)
  const words = ['ledger', 'buy', id, '500', '--reference', 'pi_7Qm2', '--key']
  expect(await refused(...words, path('ada'))).toBe('forbidden')
  expect(await asked(...words, path('issuer'))).toMatchObject({ amount: '500', reference: 'pi_7Qm2' })
  expect(await asked(...words, path('issuer'))).toMatchObject({ amount: '500' })
  expect(await refused('ledger', 'buy', id, '501', '--reference', 'pi_7Qm2', '--key', path('issuer'))).toBe('conflict')
  expect(await read(`/v1/accounts/${id}`)).toMatchObject({ available: '500' })
})

test.each([
  ['price', '1.5', '--key', 'ada'],
  ['price', '3', '--key', 'ada', '--in', 'soon'],
  ['price', '3'],
  ['buy', 'nobody', '5', '--reference', 'r', '--key', 'issuer'],
  ['buy', 'ab'.repeat(32), '-5', '--reference', 'r', '--key', 'issuer'],
  ['buy', 'ab'.repeat(32), '5', '--key', 'issuer'],
  ['peer', 'policy', '--key', 'ada'],
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
