/** Malformed, huge and hostile requests: a problem with a code, never a fault of ours, and nothing changed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { utf8, toBase64url, type Bytes } from '../../protocol/bytes.ts'
import { lock, mint, refund } from '../../protocol/crossing.ts'
import { encode } from '../../protocol/encoding.ts'
import { buy, sell } from '../../protocol/issuance.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, signerFrom, type EnvelopeJson, type Kind } from '../../protocol/signed.ts'
import type { Item } from '../../protocol/store.ts'
import { expectAccepted, LEDGER_ID, openLedger, START_MS, type TestLedger } from './kit.ts'
import { delegation, gift, person, purchase } from './people.ts'
import { watchedStore, type WatchedStore } from './store-watch.ts'

const alice = person('alice')
const bob = person('bob')
const download = purchase(alice)
const bargain = download.lane(bob)

const issuer = signerFrom(sha256(utf8('issuer')))
const orderTerms = { account: alice.id, amount: 7n, ledger: LEDGER_ID, reference: 'payment' }
const lockTerms = {
  amount: 7n,
  expires: START_MS + 9,
  from: alice.id,
  ledger: LEDGER_ID,
  nonce: new Uint8Array(16),
  recipient: bob.id,
  target: bob.id,
}
const carried = { checkpoint: '', entry: new Uint8Array(0), index: 0, proof: [] }

/** Each endpoint that takes signed objects, with a request that would be accepted. */
const endpoints: Readonly<Record<string, Readonly<Record<string, EnvelopeJson>>>> = {
  '/v1/accounts': { identity: envelopeToJson(person('carol').identity) },
  '/v1/rotations': { identity: envelopeToJson(person('carol').identity) },
  '/v1/delegations': { delegation: envelopeToJson(delegation(alice)) },
  '/v1/declarations': { declaration: envelopeToJson(purchase(alice, { units: 5 }).declaration) },
  '/v1/claims': {
    commitment: envelopeToJson(download.lane(bob, { first: 2 }).commitment),
    claim: envelopeToJson(download.lane(bob, { first: 2 }).claim),
  },
  '/v1/redemptions': { redemption: envelopeToJson(bargain.redeem(3)) },
  '/v1/releases': { release: envelopeToJson(download.release()) },
  '/v1/transfers': { transfer: envelopeToJson(gift(alice, bob, 5n)) },
  '/v1/purchases': { buy: envelopeToJson(buy(orderTerms, issuer)) },
  '/v1/sales': {
    sell: envelopeToJson(sell({ ...orderTerms, expires: START_MS + 9 }, alice.signer)),
    issuer: envelopeToJson(sell({ ...orderTerms, expires: START_MS + 9 }, issuer)),
  },
  '/v1/locks': { lock: envelopeToJson(lock(lockTerms, alice.signer)) },
  '/v1/declines': { lock: envelopeToJson(lock({ ...lockTerms, target: LEDGER_ID }, alice.signer)) },
  '/v1/mints': { mint: envelopeToJson(mint(carried, alice.signer)) },
  '/v1/refunds': { refund: envelopeToJson(refund(carried, alice.signer)) },
}
const paths = [...Object.keys(endpoints), '/v1/prices', '/verify', '/settle']

interface Opened {
  readonly ledger: TestLedger
  readonly store: WatchedStore
  /** What it holds before anything hostile comes. */
  readonly before: readonly Item[]
}

async function open(): Promise<Opened> {
  const store = watchedStore()
  const ledger = openLedger({ store, policy: { issuer: issuer.key } })
  for (const { identity } of [alice, bob]) await expectAccepted(ledger.post('/v1/accounts', { identity }))
  await expectAccepted(ledger.post('/v1/declarations', { declaration: download.declaration }))
  await expectAccepted(ledger.post('/v1/claims', { commitment: bargain.commitment, claim: bargain.claim }))
  await ledger.sequence()
  return { ledger, store, before: await store.dump() }
}

const opened = open()

/** Expects a problem below 500 with a code, and a store as it was. */
async function expectRefused(path: string, init: RequestInit, status?: number): Promise<void> {
  const { ledger, store, before } = await opened
  const response = await ledger.app.request(path, init)
  const problem = (await response.json()) as Record<string, unknown>
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(problem['status']).toBe(response.status)
  expect(problem['code']).toEqual(expect.stringMatching(/^[a-z-]+$/))
  expect(response.status).toBeLessThan(500)
  if (status) expect(response.status).toBe(status)
  expect(await store.dump()).toEqual(before)
  expect(ledger.faults).toEqual([])
}

const posted = (body: string | Bytes, type = 'application/json'): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': type },
  body,
})
const json = (value: unknown): RequestInit => posted(JSON.stringify(value) ?? '')

describe.each(paths)('POST %s', (path) => {
  test('refuses any JSON that is not its own', async () => {
    await fc.assert(fc.asyncProperty(fc.jsonValue(), (value) => expectRefused(path, json(value), 400)))
  })

  test('refuses what is no JSON, of another type, not UTF-8, nested without end, or nothing', async () => {
    await expectRefused(path, posted('{"identity":'), 400)
    await expectRefused(path, posted('{}', 'text/plain'), 400)
    await expectRefused(path, posted(Uint8Array.of(0xff, 0xfe, 0x00)), 400)
    await expectRefused(path, posted('['.repeat(30_000)), 400)
    await expectRefused(path, posted('{"a":'.repeat(10_000) + '1' + '}'.repeat(10_000)), 400)
    await expectRefused(path, posted(''), 400)
    await expectRefused(path, { method: 'POST' }, 400)
  })

  test('refuses a body over the limit, declared or streamed', async () => {
    await expectRefused(path, json({ identity: 'x'.repeat(limits.jsonBytes) }), 413)
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(16_384)) })
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: endless, duplex: 'half' }
    await expectRefused(path, init, 413)
  })

  test('refuses other methods', async () => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) await expectRefused(path, { method }, 405)
  })
})

const mutation = fc.record({
  name: fc.nat(),
  member: fc.constantFrom('body', 'key', 'signature'),
  at: fc.nat(),
  to: fc.base64String(),
})

describe.each(Object.entries(endpoints))('a signed object at POST %s', (path, request) => {
  test('is refused with any part of it changed', async () => {
    await fc.assert(
      fc.asyncProperty(mutation, async ({ name, member, at, to }) => {
        const names = Object.keys(request)
        const changed = names[name % names.length] as string
        const text = (request[changed] as EnvelopeJson)[member as keyof EnvelopeJson]
        const place = at % text.length
        const forged = text.slice(0, place) + to + text.slice(place + to.length)
        fc.pre(forged !== text)
        await expectRefused(path, json({ ...request, [changed]: { ...request[changed], [member]: forged } }))
      }),
      { numRuns: 60 },
    )
  })

  test('is refused with members too few or too many', async () => {
    const [name] = Object.keys(request) as [string]
    const { key, ...rest } = request[name] as EnvelopeJson
    for (const wrong of [
      { ...request, more: 1 },
      { ...request, [name]: { ...rest, key, more: 1 } },
      { ...request, [name]: rest },
      { ...request, [name]: null },
      { ...request, [name]: [rest] },
      {},
    ]) {
      await expectRefused(path, json(wrong), 400)
    }
  })

  test('is refused as another kind of object', async () => {
    for (const [other, objects] of Object.entries(endpoints)) {
      const [name, object] = [Object.keys(request)[0] as string, Object.values(objects)[0]]
      const isSameKind = [path, other].every((each) => each === '/v1/accounts' || each === '/v1/rotations')
      if (other !== path && !isSameKind) await expectRefused(path, json({ ...request, [name]: object }))
    }
  })
})

/** Amounts that are none, as a signer would have to write them. */
const AMOUNTS = [
  'i1.5e',
  'i-1e',
  'i-0e',
  'i+1e',
  'i007e',
  'i1e9e',
  'i9223372036854775808e',
  `i${'9'.repeat(40)}e`,
  '1:1',
  'ie',
  'i e',
  'le',
  'de',
  'i0x10e',
]

/** The object with one integer, 77 by agreement, written otherwise, and signed. */
function rewritten(kind: Kind, value: Parameters<typeof encode>[0], written: string): EnvelopeJson {
  const text = Array.from(encode(value), (byte) => String.fromCharCode(byte)).join('')
  const body = Uint8Array.from(text.replace('i77e', written), (character) => character.charCodeAt(0))
  const signature = alice.signer.sign(new Uint8Array([...utf8(`raincheck/${kind}/v1\0`), ...body]))
  return { body: toBase64url(body), key: toBase64url(alice.signer.key), signature: toBase64url(signature) }
}

describe.each(AMOUNTS)('an amount written %s', (written) => {
  test.each(['unitPrice', 'units', 'unitBytes', 'expires', 'disputeWindow', 'segment'])(
    'as %s of a declaration is refused',
    async (name) => {
      await expectRefused(
        '/v1/declarations',
        json({ declaration: rewritten('declaration', { ...download.terms, [name]: 77 }, written) }),
        400,
      )
    },
  )

  test('as a transfer, a cap, a purchase, a lock, a price or a limit is refused', async () => {
    const order = { amount: 77, from: alice.id, ledger: LEDGER_ID, nonce: new Uint8Array(16), to: bob.id }
    await expectRefused('/v1/transfers', json({ transfer: rewritten('transfer', order, written) }), 400)
    const caps = {
      agent: bob.id,
      day: 77,
      expires: START_MS + 9,
      issued: START_MS,
      may: ['spend'],
      owner: alice.id,
      total: 5,
    }
    await expectRefused('/v1/delegations', json({ delegation: rewritten('delegation', caps, written) }), 400)
    const committed = rewritten('commitment', { ...bargain.terms, cap: 77 }, written)
    const purchased = rewritten('buy', { ...orderTerms, amount: 77 }, written)
    await expectRefused('/v1/purchases', json({ buy: purchased }), 400)
    const sold = rewritten('sell', { ...orderTerms, amount: 77, expires: START_MS + 9 }, written)
    await expectRefused('/v1/sales', json({ sell: sold, issuer: sold }), 400)
    const sent = rewritten('lock', { ...lockTerms, amount: 77 }, written)
    await expectRefused('/v1/locks', json({ lock: sent }), 400)
    await expectRefused('/v1/declines', json({ lock: sent }), 400)
    const price = { effective: START_MS + 9, ledger: LEDGER_ID, seq: 1, unitPrice: 77 }
    await expectRefused('/v1/prices', json({ price: [rewritten('price', price, written)] }), 400)
    const peer = { ledger: LEDGER_ID, limit: 77, policy: 'quorum none\n', seq: 1 }
    await expectRefused('/v1/peers', json({ peer: [rewritten('peer', peer, written)] }), 400)
    await expectRefused('/v1/claims', json({ commitment: committed, claim: envelopeToJson(bargain.claim) }), 400)
  })
})

test('a price of all units beyond 2^63 is refused', async () => {
  const { declaration } = purchase(alice, { unitPrice: 2n ** 60n, units: 100 })
  await expectRefused('/v1/declarations', json({ declaration: envelopeToJson(declaration) }), 400)
})

describe('GET', () => {
  const named = [
    '/v1/accounts/',
    '/v1/declarations/',
    '/v1/lanes/',
    '/v1/entries/',
    '/tile/',
    '/tile/0/',
    '/tile/entries/',
    '/v1/',
  ]

  test('refuses any path that names nothing', async () => {
    const segment = fc.oneof(
      fc.webSegment(),
      fc.webFragments(),
      fc.constantFrom('0'.repeat(64), '-1', '1e3', '1.5', '999999999999999', '%00', '..%2f', 'x001/000'),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...named), segment, (path, name) => {
        fc.pre(!['', '0', '1', '2', '3', '4'].includes(name) && !name.startsWith('?'))
        return expectRefused(path + name, {})
      }),
    )
  })

  test.each([
    '/v1/ledger',
    `/v1/lanes/${bargain.hex}`,
    '/v1/entries/0',
    '/checkpoint',
    '/tile/0/000',
    '/supported',
    '/openapi.json',
    '/healthz',
  ])('of %s alone is allowed', async (path) => {
    const { ledger } = await opened
    const response = await ledger.app.request(path, { method: 'DELETE' })
    expect(response.headers.get('allow')).toContain('GET')
    await expectRefused(path, { method: 'DELETE' }, 405)
    await expectRefused(path, json({}), 405)
  })
})
