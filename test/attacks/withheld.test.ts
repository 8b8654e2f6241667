/** Prepaid sellers that take a tick and keep the piece, or send something else: what it costs the buyer, and what lands on its disk. */
import { beforeEach, describe, expect, test } from 'vitest'
import { USUAL_PACE } from '../../agent/download/pace.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { download, filmOf, moveIn, PIECE_BYTES, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, type World } from './world.ts'

const PATIENCE_MS = 4 * 60_000
const LINK_LOCAL = 'http://169.254.169.254/latest/meta-data'

let world: World<HandClock>
let cheat: Resident
let you: Resident
let share: ShareJson

beforeEach(async () => {
  world = await openWorld()
  ;[cheat, you] = [await moveIn(world, 'cheat', { modes: ['prepaid', 'credit'] }), await moveIn(world, 'you')]
  share = await cheat.share('film.bin', filmOf(24))
})

const isPaid = (request: Request): boolean => request.headers.has('payment-signature')

type Trick = (request: Request, honest: Response) => Response | Promise<Response>

/** The tick is taken as an honest seller takes it; then something else is answered. */
function play(trick: Trick): void {
  cheat.tamper = async (request, answer) => (isPaid(request) ? trick(request, await answer()) : answer())
}

const saying =
  (status: number, code: string): Trick =>
  () =>
    Response.json({ code, detail: 'Sorry.' }, { status })

const bytesOf = async (response: Response): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await response.arrayBuffer())

/** What the cheat can have earned, once it has redeemed all it has. */
async function takings(): Promise<bigint> {
  await cheat.service.seller.redeem({})
  const { available, earned } = await world.money(cheat.person)
  return available + earned - FAUCET
}

describe('a tick is taken and the piece is withheld: one unit is lost at most', () => {
  test.each([
    ['nothing at all', () => new Promise<Response>(() => undefined)],
    ['an error of its own', saying(500, 'internal')],
    ['that it is busy', saying(429, 'limit-reached')],
    ['that the tick was spent', saying(409, 'tick-replayed')],
    ['that the tick is none', saying(402, 'tick-invalid')],
    ['that the lane is closed', saying(409, 'closed')],
    ['that the lane is another’s', saying(409, 'lane-taken')],
    ['that the lane has expired', saying(410, 'expired')],
    ['that it is not the payee', saying(403, 'not-payee')],
    ['that more must be paid', saying(402, 'payment-required')],
    ['that it gives no credit', saying(402, 'credit-exceeded')],
    ['that it has no such piece', saying(404, 'not-found')],
    ['that the file has changed', saying(410, 'content-changed')],
    ['what no seller says', saying(400, 'bad-request')],
    ['a redirect to the metadata of a cloud', () => Response.redirect(LINK_LOCAL, 307)],
    ['a redirect to itself', ({ url }: Request) => Response.redirect(url, 302)],
  ])('by one that answers %s', async (_, trick: Trick) => {
    play(trick)
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ state: 'waiting', piecesDone: 0, ticks: 1, paid: String(PRICE) })
    expect(await takings()).toBeLessThanOrEqual(PRICE)
    expect(world.ground.sent.every(({ url }) => url.host.endsWith('.example'))).toBe(true)
  })

  test('by one that sent good pieces before', async () => {
    let left = 5
    play((_, honest) => (left-- > 0 ? honest : saying(409, 'closed')(_, honest)))
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ state: 'waiting', piecesDone: 5 })
    // Several flows run beside each other by then, with a unit at stake each.
    const most = 5 + USUAL_PACE.lanesPerSeller
    expect(found.ticks).toBeLessThanOrEqual(most)
    expect(await takings()).toBeLessThanOrEqual(BigInt(most) * PRICE)
  })

  test('and an honest seller makes up for it', async () => {
    play(saying(409, 'tick-replayed'))
    const honest = await moveIn(world, 'honest')
    await honest.share('film.bin', filmOf(24))
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found).toMatchObject({ state: 'done', piecesDone: 24 })
    expect(found.ticks).toBeLessThanOrEqual(25)
    expect(you.disk.files.get('film.bin')?.bytes).toEqual(filmOf(24))
  })
})

test('no tick leaves before its piece where its price is more than the owner lets be at stake', async () => {
  const careful = await moveIn(world, 'careful', { stakeMost: PRICE - 1n })
  const found = await download(world, careful, share.infoHash, PATIENCE_MS)
  expect(found).toMatchObject({ state: 'waiting', piecesDone: 0, ticks: 0 })
  const bold = await moveIn(world, 'bold', { stakeMost: PRICE })
  expect(await download(world, bold, share.infoHash)).toMatchObject({ state: 'done', piecesDone: 24 })
})

test('who wants more for a piece than it says that one costs is paid nothing', async () => {
  cheat.tamper = async (request, answer) => {
    const honest = await answer()
    if (!request.url.endsWith(`/v1/pieces/${share.infoHash}`)) return honest
    const { accepts, ...said } = (await honest.json()) as { readonly accepts: readonly object[] }
    return Response.json({ ...said, accepts: accepts.map((offer) => ({ ...offer, amount: String(1000n * PRICE) })) })
  }
  const found = await download(world, you, share.infoHash, PATIENCE_MS)
  expect(found).toMatchObject({ state: 'waiting', piecesDone: 0, ticks: 0 })
  expect((await world.money(you.person)).frozen).toBe(0n)
})

describe('what is not the piece is refused and not stored', () => {
  test.each<readonly [string, Trick]>([
    [
      'one bit wrong',
      async (_, honest) => {
        const bytes = await bytesOf(honest)
        bytes[PIECE_BYTES - 1] = (bytes.at(-1) as number) ^ 1
        return new Response(bytes)
      },
    ],
    ['a piece of the right length and no more', () => new Response(new Uint8Array(PIECE_BYTES))],
    ['a byte too few', async (_, honest) => new Response((await bytesOf(honest)).slice(1))],
    ['a byte too many', async (_, honest) => new Response(new Uint8Array([...(await bytesOf(honest)), 0]))],
    ['nothing', () => new Response(null)],
    [
      'a length that is not so',
      async (_, honest) => new Response(await bytesOf(honest), { headers: { 'content-length': '5' } }),
    ],
    ['a part, and says so', async (_, honest) => partOf(await bytesOf(honest), 206)],
    ['a part, and calls it the whole', async (_, honest) => partOf((await bytesOf(honest)).slice(0, 99), 200)],
    ['the whole, and calls it a part', async (_, honest) => partOf(await bytesOf(honest), 200, 'bytes 5-9/10')],
    [
      'another piece',
      ({ url }) => {
        const [at, film] = [url.endsWith('/0') ? PIECE_BYTES : 0, filmOf(24)]
        return new Response(film.slice(at, at + PIECE_BYTES))
      },
    ],
    ['bytes without end', () => new Response(endless())],
  ])('%s', async (name, trick) => {
    play(trick)
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    const isWhole = name.startsWith('the whole')
    expect(found).toMatchObject(isWhole ? { state: 'done' } : { state: 'waiting', piecesDone: 0, ticks: 1 })
    if (isWhole) return
    expect([...you.disk.files.keys()]).toEqual([])
    expect(stored(you)).toEqual([])
    expect(await takings()).toBeLessThanOrEqual(PRICE)
  })

  test('and who sent it is named as a liar, and asked nothing more', async () => {
    play(async () => new Response(new Uint8Array(PIECE_BYTES)))
    const found = await download(world, you, share.infoHash, PATIENCE_MS)
    expect(found.sellers).toMatchObject([{ id: cheat.person.hex, status: 'lied', ticks: 1 }])
    const asked = world.ground.sent.filter(({ from, url }) => from === 'you' && url.host === 'cheat.example')
    expect(asked.filter(({ headers }) => headers.has('payment-signature'))).toHaveLength(1)
  })
})

/** Bytes other than zero in what is written and not finished. */
const stored = ({ disk }: Resident): readonly string[] =>
  [...disk.unfinished.values()].filter(({ bytes }) => bytes.some((byte) => byte !== 0)).map(({ name }) => name)

const partOf = (bytes: Uint8Array<ArrayBuffer>, status: number, range = `bytes 0-${bytes.length - 1}/${PIECE_BYTES}`) =>
  new Response(bytes, { status, headers: { 'content-range': range } })

const endless = (): ReadableStream<Uint8Array> =>
  new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(PIECE_BYTES)) })
