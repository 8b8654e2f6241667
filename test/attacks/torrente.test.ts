/** How Torrente and Payfluxo fail, as their code stands: each fault is tried here on whole services, and is not there. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { fromBase64url, fromHex, toHex, utf8 } from '../../protocol/bytes.ts'
import { parseDeclaration } from '../../protocol/declaration.ts'
import { decodeEntry } from '../../protocol/entry.ts'
import { makeChain, segmentsOf, tickRoot } from '../../protocol/payword.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import { bookFromJson, type Book, type BookJson } from '../../protocol/vouch.ts'
import { decodePayment } from '../../protocol/x402.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { gift } from '../ledger/people.ts'
import type { Answer } from './answer.ts'
import { bargain, buy, declared, type Bargain } from './hand.ts'
import { download, filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, type Person, type World } from './world.ts'

let world: World<HandClock>
let anna: Resident
let share: ShareJson
let victim: Person
let bought: Bargain

beforeEach(async () => {
  world = await openWorld()
  anna = await moveIn(world, 'anna')
  share = await anna.share('film.bin', filmOf(24))
  victim = await world.person('victim')
  bought = await declared(world, victim, share)
})

const send = (path: string, objects: Readonly<Record<string, Envelope>>): Promise<Answer> =>
  world.post(
    `${world.ledger.url}/v1/${path}`,
    Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)])),
  )

const payments = (): readonly ReturnType<typeof decodePayment>[] =>
  world.ground.sent
    .map(({ headers }) => headers.get('payment-signature'))
    .filter((header) => header !== null)
    .map(decodePayment)

describe('redeem never checks that the payer of the commitment owns the intention', () => {
  test('here a thief’s commitment on another’s escrow is no lane: not-payer', async () => {
    const thief = await world.person('thief')
    for (const signer of [thief.signer, thief.agent]) {
      const lane = bought.laneTo(thief, {}, signer)
      const claim = lane.claimBy(thief)
      await refused(world, () => send('claims', { commitment: lane.commitment, claim }), 'not-payer')
      await refused(world, () => send('redemptions', { redemption: lane.redeem(4) }), 'not-found')
    }
    expect((await world.money(victim)).frozen).toBe(24n * PRICE)
  })

  test('nor does an honest seller serve a thief who pays with another’s escrow', async () => {
    const thief = await world.person('thief')
    const lane = bought.laneTo(anna.person, {}, thief.agent)
    await refused(world, () => anna.piece(share, 0, lane.pay(1)), 'not-payer')
  })

  test('nor does a seller draw on one declaration with the chain of another', async () => {
    const own = await declared(world, anna.person, share, { salt: 'own' })
    const lane = bought.laneTo(anna.person)
    expect((await anna.piece(share, 0, lane.pay(1))).code).toBe('ok')
    const { link, proof } = { link: own.chain.link(0, 4), proof: own.chain.proof(0) }
    const redemption = lane.redeem(4, { link, proof }, anna.person.agent)
    await refused(world, () => send('redemptions', { redemption }), 'tick-invalid')
  })
})

describe('expiry is ignored', () => {
  test('here nothing is declared, claimed, sold or redeemed after it: expired', async () => {
    const lane = bought.laneTo(anna.person)
    const unsent = bargain(victim, world, share, { salt: 'unsent' })
    await buy(anna, share, lane, 2)
    world.clock.advance(bought.terms.expires - world.clock.now())
    await refused(world, () => send('redemptions', { redemption: lane.redeem(2, {}, anna.person.agent) }), 'expired')
    await refused(world, () => anna.piece(share, 3, lane.pay(3)), 'expired')
    const late = bought.laneTo(anna.person, { first: 1 })
    const claim = late.claimBy(anna.person, anna.person.agent)
    await refused(world, () => send('claims', { commitment: late.commitment, claim }), 'expired')
    await refused(world, () => anna.piece(share, 3, late.pay(1)), 'expired')
    await refused(world, () => send('declarations', { declaration: unsent.declaration }), 'expired')
  })
})

describe('the free balance is debited, not the escrow', () => {
  test('here a payer who gave all the rest away still pays what it froze', async () => {
    const lane = bought.laneTo(anna.person)
    const friend = await world.person('friend')
    const rest = FAUCET - 24n * PRICE
    expect((await send('transfers', { transfer: gift(victim, friend, rest) })).status).toBe(201)
    expect(await world.money(victim)).toEqual({ available: 0n, frozen: 24n * PRICE, earned: 0n })
    expect((await buy(anna, share, lane, 4)).code).toBe('ok')
    expect((await world.post(`${anna.url}/v1/signoffs`, lane.signoff(4))).code).toBe('ok')
    expect(await world.money(victim)).toEqual({ available: 0n, frozen: 20n * PRICE, earned: 0n })
    expect((await world.money(anna.person)).available).toBe(FAUCET + 4n * PRICE)
  })

  test('and what is frozen is not given away, nor frozen again', async () => {
    const friend = await world.person('friend')
    const transfer = gift(victim, friend, FAUCET - 24n * PRICE + 1n)
    await refused(world, () => send('transfers', { transfer }), 'funds-insufficient')
  })
})

describe('the seller does not await its validity check', () => {
  test('here nothing leaves before the ledger has answered the claim', async () => {
    const held = Promise.withResolvers<undefined>()
    const slow = world.environmentOf('slow')
    const patient = await moveIn(world, 'patient', {
      environment: {
        ...slow,
        async transport(request) {
          if (request.url.endsWith('/v1/claims')) await held.promise
          return slow.transport(request)
        },
      },
    })
    await patient.share('film.bin', filmOf(24))
    let answered = false
    const asked = patient.piece(share, 0, bought.laneTo(patient.person).pay(1)).then((answer) => {
      answered = true
      return answer
    })
    await turnOver()
    expect({ answered, served: (await world.state()).served }).toEqual({ answered: false, served: {} })
    held.resolve(undefined)
    expect((await asked).code).toBe('ok')
  })

  test('here one tick at a hundred places at once is one piece', async () => {
    const lane = bought.laneTo(anna.person)
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => anna.piece(share, i % 24, lane.pay(1))))
    const readable = new Set(answers.filter(({ code }) => code === 'ok').map(({ body }) => toHex(sha256(body))))
    expect(readable.size).toBe(1)
    expect(answers.filter(({ code }) => code !== 'ok' && code !== 'tick-replayed')).toEqual([])
  })

  test('here a ledger that is away means that nothing is sold to who is not known yet', async () => {
    const cut = await moveIn(world, 'cut', {
      environment: {
        ...world.environmentOf('cut'),
        transport: (request) =>
          request.url.endsWith('/v1/claims')
            ? Promise.reject(new TypeError('away'))
            : world.environmentOf('cut').transport(request),
      },
    })
    await cut.share('film.bin', filmOf(24))
    const asked = cut.piece(share, 0, bought.laneTo(cut.person).pay(1))
    const { code } = await world.clock.until(asked)
    expect({ code, served: (await world.state()).served }).toEqual({ code: 'peer-failed', served: {} })
  })
})

/** Enough turns of the event loop for all that can happen without the ledger. */
async function turnOver(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => void setImmediate(resolve))
}

describe('the chain covers only part of a file', () => {
  test('here a unit is there for every piece, and the last one is paid as the first', async () => {
    const you = await moveIn(world, 'you')
    const whole = await anna.share('long.bin', filmOf(200))
    const found = await download(world, you, whole.infoHash)
    expect(found).toMatchObject({ state: 'done', ticks: 200, paid: String(200n * PRICE) })
    const declarations = await declarationsOf(you.person)
    expect(declarations.reduce((sum, { units }) => sum + units, 0)).toBeGreaterThanOrEqual(200)
    for (const terms of declarations) expect(segmentsOf(terms) * terms.segment).toBeGreaterThanOrEqual(terms.units)
    expect((await world.money(anna.person)).available).toBe(FAUCET + 200n * PRICE)
  })
})

/** As the log of the ledger has them. */
async function declarationsOf({ hex }: Person): Promise<ReturnType<typeof parseDeclaration>[]> {
  await world.ledger.sequence()
  const { entries } = await world.bank.entries(hex)
  const found = entries.filter(({ kind }) => kind === 'declare')
  return Promise.all(
    found.map(async ({ index }) => {
      const { entry } = await world.bank.entry(index)
      return parseDeclaration(decodeEntry(entry).parts[0] as Envelope)
    }),
  )
}

describe('payment fires before the piece’s hash is checked', () => {
  test('here on credit no tick leaves for a piece that is none', async () => {
    const you = await moveIn(world, 'you')
    await anna.vouch([you.person], 8)
    await world.library.putBook(anna.person.hex, await bookOf(anna))
    anna.tamper = async (request, answer) => {
      const response = await answer()
      if (!request.headers.has('payment-signature') || response.status !== 200) return response
      return new Response(new Uint8Array(PIECE_BYTES))
    }
    const found = await download(world, you, share.infoHash, 10 * 60_000)
    expect(found).toMatchObject({ piecesDone: 0, ticks: 0, paid: '0', sellers: [{ status: 'lied' }] })
    expect(payments().map(({ accepted }) => accepted.extra.mode)).toContain('credit')
    expect(payments().every(({ payload }) => payload.tick === undefined)).toBe(true)
    await anna.service.seller.redeem({ all: true })
    expect((await world.money(anna.person)).available).toBe(FAUCET)
  })

  test('here a bad piece costs a stranger nothing: it comes sealed, and is held against its hash first', async () => {
    const you = await moveIn(world, 'you')
    anna.tamper = async (request, answer) => {
      const response = await answer()
      if (!request.headers.has('payment-signature') || response.status !== 200) return response
      const { byteLength } = await response.arrayBuffer()
      return new Response(new Uint8Array(byteLength), { headers: response.headers })
    }
    const found = await download(world, you, share.infoHash, 10 * 60_000)
    expect(found).toMatchObject({ piecesDone: 0, ticks: 0, paid: '0', sellers: [{ status: 'lied' }] })
    expect(payments().map(({ accepted }) => accepted.extra.mode)).toEqual(['sealed'])
  })
})

async function bookOf({ owner }: Resident): Promise<Book> {
  const { book } = await owner.ask<{ readonly book: BookJson }>('GET', '/v1/trust')
  return bookFromJson(book)
}

describe('debts are kept by IP address, up to GiBs of them', () => {
  test('here they are kept by payer, over all lanes and addresses, up to the credit that was given', async () => {
    await anna.vouch([victim], 3)
    const codes: string[] = []
    for (let i = 0; i < 6; i++) {
      const lane = bought.laneTo(anna.person, { first: i, mode: 'credit' })
      const address = { 'x-forwarded-for': `203.0.113.${i}`, forwarded: `for=203.0.113.${i}` }
      codes.push((await anna.piece(share, i, { ...lane.pay(0), ...address })).code)
    }
    expect(codes).toEqual(['ok', 'ok', 'ok', 'credit-exceeded', 'credit-exceeded', 'credit-exceeded'])
    expect((await world.state()).served).toEqual({ anna: 3 * PIECE_BYTES })
  })

  test('and who shares an address with a debtor owes nothing', async () => {
    const neighbour = await world.person('neighbour')
    await anna.vouch([victim, neighbour], 1)
    const address = { 'x-forwarded-for': '203.0.113.9' }
    const own = await declared(world, neighbour, share)
    const debtor = bought.laneTo(anna.person, { mode: 'credit' })
    expect((await anna.piece(share, 0, { ...debtor.pay(0), ...address })).code).toBe('ok')
    expect((await anna.piece(share, 1, { ...debtor.pay(0), ...address })).code).toBe('credit-exceeded')
    const other = own.laneTo(anna.person, { mode: 'credit' })
    expect((await anna.piece(share, 1, { ...other.pay(0), ...address })).code).toBe('ok')
  })
})

describe('the seed is Math.random', () => {
  test('here it is derived from the agent’s key: the same nonce under another key is another chain', async () => {
    const nothing = { bytes: (length: number) => new Uint8Array(length) }
    const roots: string[] = []
    for (const name of ['one', 'two']) {
      const you = await moveIn(world, name, { environment: { ...world.environmentOf(name), random: nothing } })
      await download(world, you, share.infoHash)
      const [terms] = await declarationsOf(you.person)
      if (!terms) throw new Error('nothing was declared')
      expect(toHex(terms.nonce)).toBe('0'.repeat(32))
      roots.push(toHex(terms.tickRoot))
      for (const guess of guesses(terms, you.person))
        expect(toHex(tickRoot(guess, terms))).not.toBe(toHex(terms.tickRoot))
    }
    expect(new Set(roots).size).toBe(2)
  })

  test('here a link that was seen tells nothing of the next', async () => {
    const lane = bought.laneTo(anna.person)
    await buy(anna, share, lane, 2)
    const [seen] = payments().toReversed()
    const link = fromBase64url(seen?.payload.tick?.link ?? '')
    for (const next of [sha256(link), link, sha256(sha256(link)), makeChain(link, bought.terms).link(0, 3)]) {
      const tick = { ...lane.tickJson(3), link: toBase64(next) }
      await refused(world, () => anna.piece(share, 3, lane.pay(3, { tick })), 'tick-invalid')
    }
  })

  const toBase64 = (bytes: Uint8Array): string =>
    btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (sign) => ({ '+': '-', '/': '_', '=': '' })[sign] ?? '')

  /** All that is public of a declaration. */
  const guesses = ({ nonce, id, key }: ReturnType<typeof parseDeclaration>, person: Person) => [
    nonce,
    id,
    key,
    person.id,
    sha256(nonce),
    sha256(key),
    fromHex(person.hex),
    sha256(utf8('')),
  ]
})
