/** Fresh keys by the hundred, each of which would like a first piece before it pays. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'
import { writeBook } from '../../protocol/vouch.ts'
import type { Answer } from './answer.ts'
import { bargain, declared } from './hand.ts'
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

async function threeSellers(world: World): Promise<{ sellers: Resident[]; share: ShareJson }> {
  const sellers = [await moveIn(world, 'anna'), await moveIn(world, 'bert'), await moveIn(world, 'cleo')]
  const shares = await Promise.all(sellers.map((seller) => seller.share('film.bin', filmOf(24))))
  return { sellers, share: shares[0] as ShareJson }
}

describe('a thousand fresh keys', () => {
  test('each take a first piece from every seller: none is readable', async () => {
    const world = await openWorld()
    const { sellers, share } = await threeSellers(world)
    const codes = new Map<string, number>()
    for (let i = 0; i < 1000; i++) {
      const fresh = freshPerson(world, `fresh ${i}`)
      const made = bargain(fresh, world, share, { units: 3, segment: 1 })
      const declaration = envelopeToJson(made.declaration)
      // Some go as far as to freeze what they then keep.
      if (i % 10 === 0) await enrol(world, fresh)
      if (i % 10 === 0) await world.post(`${world.ledger.url}/v1/declarations`, { declaration })
      for (const [first, seller] of sellers.entries()) {
        const mode = (i + first) % 2 === 0 ? 'credit' : 'prepaid'
        const payment = made.laneTo(seller.person, { first, mode }).pay(0, { declaration })
        const { code } = await seller.piece(share, i % 24, payment)
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }
    expect((await world.state()).served).toEqual({})
    expect(Object.fromEntries(codes)).toEqual({ 'credit-exceeded': 1500, 'payment-required': 1500 })
    expect(world.ground.sent.filter(({ url }) => url.pathname === '/v1/claims')).toEqual([])
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
  subjects: readonly Person[],
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
