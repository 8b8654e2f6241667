/** Strangers who cheat with sealed pieces: what it brings a seller to withhold or to lie, and a buyer to take and not to pay. */
import { beforeEach, describe, expect, test } from 'vitest'
import { fromHex } from '../../protocol/bytes.ts'
import { parseLabel, label, type LabelTerms } from '../../protocol/label.ts'
import { parseTorrent } from '../../protocol/metainfo.ts'
import { partsOf, pieceShape, rootsOf } from '../../protocol/sealed.ts'
import { envelopeFromJson, envelopeToJson } from '../../protocol/signed.ts'
import {
  decodePaymentResponse,
  encodePaymentResponse,
  PAYMENT_RESPONSE,
  type PaymentResponse,
  type SealedPart,
} from '../../protocol/x402.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { declared } from './hand.ts'
import { download, filmOf, moveIn, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, type World } from './world.ts'

const PATIENCE_MS = 4 * 60_000
const PIECES = 24
const BOND = 4n * PRICE

let world: World<HandClock>
let cheat: Resident
let you: Resident
let share: ShareJson

beforeEach(async () => {
  world = await openWorld()
  ;[cheat, you] = [await moveIn(world, 'cheat'), await moveIn(world, 'you')]
  share = await cheat.share('film.bin', filmOf(PIECES))
})

const takings = async (): Promise<bigint> => {
  const { available, earned, bonds } = await world.bank.account(cheat.person.hex)
  return available + earned + bonds - FAUCET
}

const isTick = ({ url }: Request): boolean => new URL(url).pathname === '/v1/ticks'

/** The tick is taken as an honest seller takes it; then something else is answered than its key, here and with later pieces. */
function withhold(answerInstead: (honest: Response) => Response | Promise<Response>): void {
  cheat.tamper = async (request, answer) => {
    const honest = await answer()
    if (isTick(request)) return answerInstead(honest)
    const said = honest.headers.get(PAYMENT_RESPONSE)
    return said === null ? honest : withoutKey(honest, decodePaymentResponse(said))
  }
}

function withoutKey(honest: Response, said: PaymentResponse): Response {
  const signed = (said.extensions as { readonly sealed: SealedPart }).sealed.label
  const headers = new Headers(honest.headers)
  headers.set(PAYMENT_RESPONSE, encodePaymentResponse({ ...said, extensions: { sealed: { label: signed } } }))
  return new Response(honest.body, { headers })
}

describe('a tick is taken and its key withheld: the seller earns nothing, or the buyer reads', () => {
  test.each<readonly [string, (honest: Response) => Response | Promise<Response>]>([
    ['nothing at all', () => new Promise<Response>(() => undefined)],
    ['an error of its own', () => Response.json({ code: 'internal', detail: 'Sorry.' }, { status: 500 })],
    ['that the lane is closed', () => Response.json({ code: 'closed', detail: 'Sorry.' }, { status: 409 })],
    ['another key', async (honest) => Response.json({ ...(await honest.json()), key: 'A'.repeat(43) } as object)],
  ])('by one that answers %s', async (_, instead) => {
    withhold(instead)
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ piecesDone: 0, ticks: 1 })
    expect(await takings()).toBe(0n)
  })

  test.each<readonly [string, (honest: Response) => Response | Promise<Response>]>([
    ['that the lane is closed', () => Response.json({ code: 'closed', detail: 'Sorry.' }, { status: 409 })],
    ['another key', async (honest) => Response.json({ ...(await honest.json()), key: 'A'.repeat(43) } as object)],
  ])(
    'who answers %s and redeems the tick after all has shown the key: the piece is read from the ledger',
    async (_, instead) => {
      withhold(async (honest) => {
        void world.clock.sleep(60_000).then(() => cheat.service.seller.redeem({}))
        return instead(honest)
      })
      const found = await download(world, you, share.infoHash, PATIENCE_MS)
      expect(found.piecesDone).toBeGreaterThan(0)
      // The last may have been redeemed just as the download was stopped.
      expect(await takings()).toBeLessThanOrEqual(BigInt(found.piecesDone + 1) * PRICE)
    },
  )

  test('and an honest seller brings the rest', async () => {
    withhold(() => Response.json({ code: 'closed', detail: 'Sorry.' }, { status: 409 }))
    const honest = await moveIn(world, 'honest')
    await honest.share('film.bin', filmOf(PIECES))
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ state: 'done', piecesDone: PIECES })
    expect(found.ticks).toBeLessThanOrEqual(PIECES + 1)
    expect(you.disk.files.get('film.bin')?.bytes).toEqual(filmOf(PIECES))
  })
})

/**
 * Other `bytes` than the piece's, sealed as if they were it; or other `leaves`, as another piece has. Both roots hold, and
 * the seller signs for them.
 */
async function falsely(part: 'bytes' | 'leaves', { url }: Pick<Request, 'url'>, honest: Response): Promise<Response> {
  const meta = parseTorrent(await world.library.torrent(share.infoHash))
  const shape = pieceShape(meta, Number(new URL(url).pathname.split('/').at(-1)))
  const body = new Uint8Array(await honest.arrayBuffer())
  const changed = partsOf(body, shape)[part]
  changed[changed.length / 2] = (changed[changed.length / 2] as number) ^ 1
  return relabelled(honest, body, () => rootsOf(body, shape))
}

/** The body under a label that says something else. */
function relabelled(
  { headers: before }: Response,
  body: BodyInit | null,
  change: (honest: LabelTerms) => Partial<LabelTerms>,
  signer = cheat.person.agent,
): Response {
  const said = decodePaymentResponse(before.get(PAYMENT_RESPONSE) as string)
  const sealed = said.extensions?.sealed as SealedPart
  const { id: _, key: __, ...terms } = parseLabel(envelopeFromJson(sealed.label))
  const extensions = { sealed: { ...sealed, label: envelopeToJson(label({ ...terms, ...change(terms) }, signer)) } }
  const headers = new Headers(before)
  headers.set(PAYMENT_RESPONSE, encodePaymentResponse({ ...said, extensions }))
  return new Response(body, { headers })
}

const isSale = (request: Request, { status }: Response): boolean =>
  status === 200 && request.headers.has('payment-signature')

describe('no tick leaves for a sealed piece', () => {
  const OTHER = new Uint8Array(32)

  test.each<readonly [string, (honest: LabelTerms) => Partial<LabelTerms>]>([
    ['another lane', () => ({ lane: OTHER })],
    ['another unit', ({ unit }) => ({ unit: unit + 1 })],
    ['another piece', ({ piece }) => ({ piece: piece + 1 })],
    ['a shorter piece', ({ length }) => ({ length: length - 1 })],
    ['a taller tree', ({ levels }) => ({ levels: levels + 1 })],
    ['another content', () => ({ plainRoot: OTHER })],
    ['other bytes', () => ({ cipherRoot: OTHER })],
  ])('whose label is of %s', async (_, change) => {
    cheat.tamper = async (request, answer) => {
      const honest = await answer()
      return isSale(request, honest) ? relabelled(honest, honest.body, change) : honest
    }
    expect(await download(world, you, share.infoHash, PATIENCE_MS)).toMatchObject({ piecesDone: 0, ticks: 0 })
  })

  test('that is truly labelled, and not the one that was asked for', async () => {
    cheat.tamper = async (request, answer) => {
      const honest = await answer()
      return isSale(request, honest) ? falsely('leaves', request, honest) : honest
    }
    expect(await download(world, you, share.infoHash, PATIENCE_MS)).toMatchObject({
      piecesDone: 0,
      ticks: 0,
      sellers: [{ status: 'lied' }],
    })
  })

  test('whose label is signed by another key than claimed the lane', async () => {
    cheat.tamper = async (request, answer) => {
      const honest = await answer()
      return isSale(request, honest) ? relabelled(honest, honest.body, () => ({}), cheat.person.signer) : honest
    }
    expect(await download(world, you, share.infoHash, PATIENCE_MS)).toMatchObject({ piecesDone: 0, ticks: 0 })
  })

  test('while the ledger does not say that its lane is claimed', async () => {
    const environment = world.environmentOf('careful')
    const transport = async (request: Request): Promise<Response> =>
      new URL(request.url).pathname.startsWith('/v1/lanes/')
        ? Response.json({ code: 'not-found', detail: 'No.' }, { status: 404 })
        : environment.transport(request)
    const careful = await moveIn(world, 'careful', { environment: { ...environment, transport } })
    expect(await download(world, careful, share.infoHash, PATIENCE_MS)).toMatchObject({ piecesDone: 0, ticks: 0 })
  })
})

describe('garbage that is sealed as if it were the piece', () => {
  /** Good pieces first. */
  function lieAfter(good: number): void {
    let left = good
    cheat.tamper = async (request, answer) => {
      const honest = await answer()
      return isSale(request, honest) && left-- <= 0 ? falsely('bytes', request, honest) : honest
    }
  }

  test('costs its seller the bond, and the buyer nothing; the seller is named as a liar', async () => {
    lieAfter(0)
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ state: 'waiting', piecesDone: 0 })
    expect(found.sellers).toMatchObject([{ status: 'lied', detail: expect.stringContaining('disputed') }])
    await cheat.service.seller.redeem({})
    expect(await takings()).toBe(-BOND)
    const { available, frozen } = await world.bank.account(you.person.hex)
    expect(available + frozen).toBe(FAUCET + BOND)
    expect(you.disk.files.size).toBe(0)
  })

  test('after good pieces costs it more than they brought', async () => {
    lieAfter(3)
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found.sellers).toMatchObject([{ status: 'lied' }])
    await cheat.service.seller.redeem({})
    expect(await takings()).toBeLessThan(0n)
  })

  test('leaves the download to an honest seller', async () => {
    lieAfter(2)
    const honest = await moveIn(world, 'honest')
    await honest.share('film.bin', filmOf(PIECES))
    expect(await download(world, you, share.infoHash)).toMatchObject({ state: 'done' })
    expect(you.disk.files.get('film.bin')?.bytes).toEqual(filmOf(PIECES))
  })

  test('is disputed once the ledger answers again', async () => {
    lieAfter(0)
    const lie = cheat.tamper as NonNullable<Resident['tamper']>
    cheat.tamper = async (request, answer) => {
      const answered = await lie(request, answer)
      if (isTick(request)) await world.host('ledger', () => Response.json({}, { status: 503 }))
      return answered
    }
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found.sellers).toMatchObject([{ status: 'lied' }])
    await world.host('ledger', (request) => world.ledger.app.fetch(request))
    expect(await takings()).toBe(0n)
    world.clock.advance(3_600_000)
    await world.clock.until(you.service.maintain())
    expect(await takings()).toBe(-BOND)
  })
})

describe('a seller that lied', () => {
  const HOUR_MS = 3_600_000

  /** Garbage instead of each piece, whose download is cancelled once one was paid for. @param keeps what it says no to */
  async function lieAndCancel(keeps: readonly string[] = []): Promise<void> {
    cheat.tamper = async (request, answer) => {
      const { pathname } = new URL(request.url)
      if (pathname === '/v1/signoffs' && keeps.includes(pathname)) return Response.json({}, { status: 500 })
      const honest = await answer()
      if (keeps.includes(pathname)) return Response.json({ code: 'closed', detail: 'Sorry.' }, { status: 409 })
      return isSale(request, honest) ? falsely('bytes', request, honest) : honest
    }
    const { id, ticks } = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(ticks).toBe(1)
    await world.clock.until(you.owner.ask('POST', `/v1/downloads/${id}/cancel`))
  }

  async function keepHouse(hours: number): Promise<void> {
    for (let hour = 0; hour < hours; hour++) {
      world.clock.advance(HOUR_MS)
      await world.clock.until(you.service.maintain())
    }
  }

  test('and shows the ledger alone its key, after the download was cancelled, pays its bond all the same', async () => {
    await lieAndCancel(['/v1/ticks'])
    await cheat.service.seller.redeem({})
    await keepHouse(1)
    expect(await takings()).toBe(-BOND)
  })

  test('and shows its key to nobody is paid nothing, and nothing of what it sent is kept', async () => {
    const kept = async () => Object.keys((await world.state()).items).filter((name) => name.startsWith('you: parked/'))
    await lieAndCancel(['/v1/ticks', '/v1/signoffs'])
    expect(await kept()).not.toEqual([])
    await keepHouse(26)
    expect(await takings()).toBe(0n)
    expect((await world.money(you.person)).frozen).toBe(0n)
    expect(await kept()).toEqual([])
  })

  test('keeps its lane open, and what it is to pay, until the ledger takes disputes', async () => {
    await world.host('ledger', (request) =>
      request.url.endsWith('/v1/disputes') ? Response.json({}, { status: 503 }) : world.ledger.app.fetch(request),
    )
    await lieAndCancel()
    await keepHouse(2)
    await world.host('ledger', (request) => world.ledger.app.fetch(request))
    await keepHouse(1)
    expect(await takings()).toBe(-BOND)
    expect((await world.money(you.person)).frozen).toBe(0n)
  })
})

describe('a buyer of sealed pieces', () => {
  test('who never pays has one a lane, and can read none', async () => {
    const lanes = await declared(world, you.person, share, { units: 24 })
    const codes = new Map<string, number>()
    for (const first of [0, 1, 2]) {
      const lane = lanes.laneTo(cheat.person, { first, mode: 'sealed' })
      for (let index = 0; index < PIECES; index++) {
        const { code } = await cheat.piece(share, index, lane.pay(0))
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
    }
    expect(Object.fromEntries(codes)).toEqual({ ok: 3, 'payment-required': 3 * (PIECES - 1) })
  })

  test('who says that a unit pays far more than is asked binds none of the seller’s credits', async () => {
    const bonds = async () => (await world.bank.account(cheat.person.hex)).bonds
    const dear = await declared(world, you.person, share, { units: 24, unitPrice: 2n * PRICE + 1n })
    const { code } = await cheat.piece(share, 0, dear.laneTo(cheat.person, { mode: 'sealed' }).pay(0))
    expect([code, await bonds()]).toEqual(['payment-required', 0n])
    // Whose price has just fallen is still paid the one before.
    const fair = await declared(world, you.person, share, { units: 24, unitPrice: 2n * PRICE })
    expect((await cheat.piece(share, 0, fair.laneTo(cheat.person, { mode: 'sealed' }).pay(0))).code).toBe('ok')
    expect(await bonds()).toBe(2n * BOND)
  })

  test('gets no key for another’s tick, one of another unit, or one that was never sealed', async () => {
    const lanes = await declared(world, you.person, share, { units: 24 })
    const [lane, other] = [0, 1].map((first) => lanes.laneTo(cheat.person, { first, mode: 'sealed' })) as [
      ReturnType<typeof lanes.laneTo>,
      ReturnType<typeof lanes.laneTo>,
    ]
    expect((await cheat.piece(share, 0, lane.pay(0))).code).toBe('ok')
    expect((await cheat.piece(share, 0, other.pay(0))).code).toBe('ok')
    const key = (tick: object) => () => world.post(`${cheat.url}/v1/ticks`, { tick })
    await refused(world, key({ ...lane.tickJson(2), unit: 1 }), 'tick-invalid')
    await refused(world, key(other.tickJson(1, { lane: lane.hex })), 'tick-invalid')
    const unknown = lanes.laneTo(cheat.person, { first: 2, mode: 'sealed' })
    await refused(world, key(unknown.tickJson(1)), 'not-found')
    const answer = await key(lane.tickJson(1))()
    expect(answer.json).toMatchObject({ unit: 1, key: expect.stringMatching(/^[\w-]{43}$/) })
    expect(fromHex(lane.hex)).toEqual(lane.id)
  })
})
