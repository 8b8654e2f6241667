/** Fresh keys by the hundred, each of which would like a first piece before it pays. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { LANE_MODES, type LaneMode } from '../../protocol/commitment.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import { writeBook } from '../../protocol/vouch.ts'
import { decodePaymentResponse, PAYMENT_RESPONSE } from '../../protocol/x402.ts'
import type { Answer } from './answer.ts'
import { bargain, declared, type Bargain } from './hand.ts'
import { filmOf, moveIn, PIECE_BYTES, type Resident, type ShareJson } from './resident.ts'
import { openWorld, type Person, type World } from './world.ts'

const DAY_MS = 86_400_000

/** A key, and what anyone can make of one. */
function freshPerson({ clock }: World, name: string): Person {
  const signer = signerFrom(sha256(utf8(name)))
  const identity = genesis([signer], clock.now())
  const id = objectId('identity', identity.body)
  return { name, id, hex: toHex(id), signer, agent: signer, identity, delegation: identity }
}

const enrol = (world: World, { identity }: Person): Promise<Answer> =>
  world.post(`${world.ledger.url}/v1/accounts`, { identity: envelopeToJson(identity) })

/** Whether any block of the piece is somewhere in what came. */
function holdsPiece(body: Uint8Array, film: Uint8Array, index: number): boolean {
  const piece = Buffer.from(film.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES))
  const came = Buffer.from(body)
  return came.includes(piece.subarray(0, 64)) || came.includes(piece.subarray(-64))
}

async function threeSellers(world: World): Promise<{ sellers: Resident[]; share: ShareJson }> {
  const sellers = [await moveIn(world, 'anna'), await moveIn(world, 'bert'), await moveIn(world, 'cleo')]
  const shares = await Promise.all(sellers.map((seller) => seller.share('film.bin', filmOf(24))))
  return { sellers, share: shares[0] as ShareJson }
}

/** CROWD=all: a thousand keys; and so many stand behind one vouch, so many of them come, to so many sellers. */
const IS_ALL = process.env['CROWD'] === 'all'
const FRESH = IS_ALL ? 1000 : 150
const [BEHIND, COMING, CROWD_SELLERS] = IS_ALL ? [10_000, 40, 50] : [100, 20, 3]
const PIECES = 100
const SELLERS = 10
/** Every so many freeze what they then keep; the others only say so. */
const FUNDED_EVERY = 10

describe('many fresh keys', () => {
  test('each take first pieces of a hundred from ten sellers, in every mode that is offered: none is readable', async () => {
    const world = await openWorld()
    const film = filmOf(PIECES)
    const names = Array.from({ length: SELLERS }, (_, i) => `seller ${i}`.replace(' ', ''))
    const sellers: Resident[] = []
    for (const name of names) sellers.push(await moveIn(world, name))
    const shares = await Promise.all(sellers.map((seller) => seller.share('film.bin', film)))
    const share = shares[0] as ShareJson
    const offered = LANE_MODES
    expect((await sellers[0]?.piece(share, 0))?.headers.get('payment-required')).toBeTruthy()
    const codes = new Map<string, number>()
    const readable = new Set<number>()
    for (let i = 0; i < FRESH; i++) {
      const fresh = freshPerson(world, `fresh ${i}`)
      const made = bargain(fresh, world, share, { units: SELLERS, segment: 1 })
      const declaration = envelopeToJson(made.declaration)
      const isFunded = i % FUNDED_EVERY === 0
      if (isFunded) await enrol(world, fresh)
      if (isFunded) await world.post(`${world.ledger.url}/v1/declarations`, { declaration })
      // Of those without funds a few sellers say enough: nothing is asked of the ledger but whether it knows them.
      for (const [first, seller] of (isFunded ? sellers : sellers.slice(i % 7, (i % 7) + 3)).entries()) {
        const mode = offered[(i / (isFunded ? FUNDED_EVERY : 1) + first) % offered.length] as LaneMode
        const index = (i + first) % PIECES
        const answer = await seller.piece(
          share,
          index,
          made.laneTo(seller.person, { first, mode }).pay(0, { declaration }),
        )
        codes.set(`${mode}: ${answer.code}`, (codes.get(`${mode}: ${answer.code}`) ?? 0) + 1)
        if (answer.code === 'ok' && holdsPiece(answer.body, film, index)) readable.add(index)
      }
    }
    expect([...readable]).toEqual([])
    // What left is sealed, and its lane is one that the ledger holds credits for: one piece each.
    expect([...codes.keys()].toSorted()).toEqual([
      'credit: credit-exceeded',
      'prepaid: payment-required',
      'sealed: ok',
      'sealed: payment-required',
    ])
    expect(codes.get('sealed: ok')).toBeLessThanOrEqual((FRESH / FUNDED_EVERY) * SELLERS)
    for (const { person } of sellers) expect((await world.bank.account(person.hex)).earned).toBe(0n)
  })

  test('as one with a declaration each take piece after piece sealed, and pay for none: one a lane leaves, and no key', async () => {
    const world = await openWorld()
    const { sellers, share } = await threeSellers(world)
    const [film, keys] = [filmOf(24), new Set<string>()]
    let sealed = 0
    for (let i = 0; i < 20; i++) {
      const fresh = freshPerson(world, `fresh ${i}`)
      await enrol(world, fresh)
      const made = await declared(world, fresh, share)
      for (const [first, seller] of sellers.entries()) {
        const lane = made.laneTo(seller.person, { first, mode: 'sealed' })
        for (let index = 0; index < 24; index++) {
          const { body, code, headers } = await seller.piece(share, index, lane.pay(0))
          if (code !== 'ok') continue
          sealed++
          expect(holdsPiece(body, film, index)).toBe(false)
          const said = decodePaymentResponse(headers.get(PAYMENT_RESPONSE) as string).extensions?.sealed?.key
          if (said !== undefined) keys.add(said)
        }
      }
    }
    expect({ sealed, keys: keys.size }).toEqual({ sealed: 20 * 3, keys: 0 })
  })

  test('have no use of one tick between them', async () => {
    const world = await openWorld()
    const { sellers, share } = await threeSellers(world)
    const [anna] = sellers as [Resident]
    const payer = await world.person('payer')
    const lane = (await declared(world, payer, share)).laneTo(anna.person)
    expect((await anna.piece(share, 0, lane.pay(1))).code).toBe('ok')
    for (let i = 0; i < 30; i++) {
      const fresh = freshPerson(world, `fresh ${i}`)
      await enrol(world, fresh)
      const own = (await declared(world, fresh, share)).laneTo(anna.person)
      const shown = { tick: lane.tickJson(1, { lane: own.hex }) }
      expect((await anna.piece(share, i % 24, own.pay(1, shown))).code).toBe('tick-invalid')
    }
    expect((await world.state()).served).toEqual({ anna: PIECE_BYTES })
  })
})

const PATIENCE_MS = 600_000

describe('many behind one vouch', () => {
  test('owe no more together than that vouch’s credit', async () => {
    const world = await openWorld()
    const anna = await moveIn(world, 'anna')
    const share = await anna.share('film.bin', filmOf(24))
    const sponsor = await world.person('sponsor')
    const puppets = await Promise.all(Array.from({ length: 12 }, (_, i) => world.person(`puppet ${i}`)))
    await anna.vouch([sponsor], 5, 2)
    await publishBook(world, sponsor, puppets)
    const codes: string[] = []
    for (const [i, puppet] of [sponsor, ...puppets].entries()) {
      const lane = (await declared(world, puppet, share)).laneTo(anna.person, { mode: 'credit' })
      for (let piece = 0; piece < 2; piece++) codes.push((await anna.piece(share, (i + piece) % 24, lane.pay(0))).code)
    }
    expect(codes.filter((code) => code === 'ok')).toHaveLength(5)
    expect(new Set(codes)).toEqual(new Set(['ok', 'credit-exceeded']))
    expect((await world.state()).served).toEqual({ anna: 5 * PIECE_BYTES })
  })

  test('from many sellers take together what the vouches of those allow', { timeout: PATIENCE_MS }, async () => {
    const world = await openWorld()
    const sponsor = await world.person('sponsor')
    const puppets: Person[] = []
    for (let i = 0; i < COMING; i++) puppets.push(await world.person(`puppet ${i}`))
    const others = Array.from({ length: BEHIND - COMING }, (_, i) => ({ id: sha256(utf8(`other ${i}`)) }))
    await publishBook(world, sponsor, [...puppets, ...others])
    const sellers: Resident[] = []
    for (let i = 0; i < CROWD_SELLERS; i++) sellers.push(await moveIn(world, `seller${i}`))
    let share: ShareJson | undefined
    for (const seller of sellers) {
      share = await seller.share('film.bin', filmOf(2))
      await seller.vouch([sponsor], 16, 2)
    }
    const bargains: Bargain[] = []
    for (const puppet of [sponsor, ...puppets])
      bargains.push(await declared(world, puppet, share as ShareJson, { units: CROWD_SELLERS, segment: 1 }))
    const codes = new Map<string, number>()
    for (const [first, seller] of sellers.entries()) {
      for (const made of bargains) {
        const lane = made.laneTo(seller.person, { first, mode: 'credit' })
        const { code } = await seller.piece(share as ShareJson, first % 2, lane.pay(0))
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }
    expect(codes.get('ok')).toBe(CROWD_SELLERS * 16)
    expect([...codes.keys()].toSorted()).toEqual(['credit-exceeded', 'ok'])
    expect(new Set(Object.values((await world.state()).served))).toEqual(new Set([16 * PIECE_BYTES]))
  })

  test('that stands deep in a chain owe no more than it allows, though the seller’s own vouch allows more', async () => {
    const world = await openWorld()
    const anna = await moveIn(world, 'anna')
    const share = await anna.share('film.bin', filmOf(24))
    const [sponsor, middle] = [await world.person('sponsor'), await world.person('middle')]
    const puppets = await Promise.all(Array.from({ length: 8 }, (_, i) => world.person(`puppet ${i}`)))
    await anna.vouch([sponsor], 20, 3)
    await publishBook(world, sponsor, [middle], 4)
    await publishBook(world, middle, puppets)
    const take = async (who: Person, pieces: number): Promise<number> => {
      const lane = (await declared(world, who, share, { segment: 24 })).laneTo(anna.person, { mode: 'credit' })
      let taken = 0
      for (let piece = 0; piece < pieces; piece++) {
        if ((await anna.piece(share, piece, lane.pay(0))).code === 'ok') taken++
      }
      return taken
    }
    let puppetsTook = 0
    for (const puppet of puppets) puppetsTook += await take(puppet, 2)
    expect(puppetsTook).toBe(4)
    expect(await take(middle, 3)).toBe(0)
    expect(await take(sponsor, 24)).toBe(16)
    expect((await world.state()).served).toEqual({ anna: 20 * PIECE_BYTES })
  })
})

/** The sponsor vouches for all of its puppets with all that a vouch may say, unless it is given less credit. */
async function publishBook(
  { clock, library }: World,
  sponsor: Person,
  subjects: readonly Pick<Person, 'id'>[],
  credit = 1000,
): Promise<void> {
  const nowMs = clock.now()
  const vouches = subjects.map(({ id }) => ({
    subject: id,
    depth: 4,
    credit,
    scope: '',
    notBefore: nowMs,
    expires: nowMs + DAY_MS,
    salt: id.slice(0, 16),
  }))
  const head = { issuer: sponsor.id, seq: 0, issued: nowMs, expires: nowMs + DAY_MS }
  await library.putBook(sponsor.hex, writeBook(head, vouches, sponsor.signer))
}
