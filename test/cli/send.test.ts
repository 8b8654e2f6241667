/** Credits given to another owner, at one ledger and from one to another. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { listen, type Listening } from '../../infra/serve.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { trustPeer } from '../../protocol/federation.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom, type Signer } from '../../protocol/signed.ts'
import { openTown } from './town.ts'

const environment = realEnvironment()
const town = openTown()
const secret = sha256(utf8('the other ledger'))
const other = createLedger({
  environment,
  store: openSqlite(':memory:'),
  secret,
  origin: 'other.example/log',
  policy: { faucet: 0n, unitPrice: 1n },
})
const friend = genesis([signerFrom(sha256(utf8('friend')))], Date.now())
const friendId = toHex(objectId('identity', friend.body))
let server: Listening
let url: string

beforeAll(async () => {
  await other.start()
  server = await listen({ fetch: other.app.fetch, port: 0, hostname: '127.0.0.1' })
  url = `http://127.0.0.1:${server.port}`
})
afterAll(async () => {
  await server.close()
  await other.stop()
})

/** Each takes up to 500 credits from the other. */
async function befriend(): Promise<void> {
  const here = town.network().ledgerUrl
  const keys: Record<string, Signer> = {
    [here]: signerFrom(fromHex(readFileSync(join(town.dir, 'ledger', 'key'), 'utf8').trim())),
    [url]: signerFrom(secret),
  }
  for (const [at, peer] of [
    [here, url],
    [url, here],
  ] as const) {
    const [own, theirs] = await Promise.all(
      [at, peer].map((one) => createLedgerClient({ environment, url: one }).info()),
    )
    const terms = { ledger: fromHex(own?.id ?? ''), limit: 500n, policy: `log ${theirs?.vkey}\nquorum none\n`, seq: 1 }
    const order = { peer: [envelopeToJson(trustPeer(terms, keys[at] as Signer))] }
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${at}/v1/peers`, { method: 'POST', headers, body: JSON.stringify(order) })
    expect(response.status).toBe(201)
  }
}

const available = async (): Promise<bigint> => BigInt((await town.you.ask<{ available: string }>('balance')).available)

test('a gift at the same ledger', async () => {
  const before = await available()
  expect(await town.you.ask('send', town.neighbour.id(), '30')).toEqual({
    to: town.neighbour.id(),
    amount: '30',
    state: 'done',
  })
  expect(before - (await available())).toBe(30n)
  const poor = await town.you.raincheck('send', town.neighbour.id(), String(before))
  expect(poor).toMatchObject({ code: 4, err: expect.stringMatching(/has \d+ available/) })
  expect(poor.err).toContain(`${before} credits are needed`)
  for (const words of [
    ['abc', '1'],
    [friendId, '0'],
    [friendId, '1.5'],
    [friendId, '1e3'],
    [friendId, '-1'],
  ])
    expect((await town.you.raincheck('send', ...words)).code).toBe(2)
})

test('a gift to another ledger goes out once it trusts ours, and what was interrupted goes on', async () => {
  const across = (credits: string) => town.you.with({})('send', friendId, credits, '--to-ledger', url, '--json')
  const before = await available()
  expect(await across('40')).toMatchObject({ code: 3 })
  expect(existsSync(join(town.you.home, 'sending.json'))).toBe(false)
  await befriend()
  // Locked here, and not taken there: the friend has no account yet.
  expect(await across('40')).toMatchObject({ code: 3 })
  expect(before - (await available())).toBe(40n)
  expect(await across('41')).toMatchObject({ code: 1 })
  const theirs = createLedgerClient({ environment, url })
  await theirs.register(friend)
  expect((await across('40')).json()).toMatchObject({ state: 'done' })
  expect(before - (await available())).toBe(40n)
  expect((await theirs.account(friendId)).available).toBe(40n)
  expect(existsSync(join(town.you.home, 'sending.json'))).toBe(false)
  const { entries } = await town.you.ask<{ entries: { kind: string; available: string }[] }>('statement')
  expect(entries.at(-1)).toMatchObject({ kind: 'lock', available: '-40' })
  const sum = entries.reduce((total, row) => total + BigInt(row.available), 0n)
  expect(sum).toBe(await available())
  writeFileSync(join(town.you.home, 'sending.json'), '{')
  expect((await across('1')).json()).toMatchObject({ code: 'bad-encoding' })
})
