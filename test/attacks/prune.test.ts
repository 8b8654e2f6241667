/** Trust that ends while pieces are on their way: a pruned seller gets no further tick, a pruned buyer no further credit. */
import { describe, expect, test } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { decodePayment } from '../../protocol/x402.ts'
import { parseHead, writeBook, type Vouch } from '../../protocol/vouch.ts'
import { download, filmOf, moveIn, type DownloadJson, type Resident } from './resident.ts'
import { openWorld, type Person, type World } from './world.ts'

const DAY_MS = 86_400_000
const PIECES = 60

interface Seen {
  /** A tick came with a request, or alone. */
  ticks: number
  /** Pieces sent on lanes of each mode. */
  readonly sent: Record<string, number>
}

/** Counts what a seller takes and sends, and calls back with each piece. */
function watch(seller: Resident, onPiece: (served: number) => Promise<unknown>): Seen {
  const seen: Seen = { ticks: 0, sent: {} }
  let served = 0
  let turn: Promise<unknown> = Promise.resolve()
  seller.tamper = async (request, answer) => {
    const header = request.headers.get('payment-signature')
    const payload = header === null ? undefined : decodePayment(header)
    if (payload?.payload.tick || new URL(request.url).pathname === '/v1/ticks') seen.ticks++
    // While the test acts, no other request for a piece is answered.
    if (request.url.includes('/v1/pieces/')) await turn
    const reply = await answer()
    if (payload && reply.status === 200) {
      const { mode } = payload.accepted.extra
      seen.sent[mode] = (seen.sent[mode] ?? 0) + 1
      turn = Promise.all([turn, onPiece(++served)])
      await turn
    }
    return reply
  }
  return seen
}

const sentIn = ({ sent }: Seen): number => Object.values(sent).reduce((sum, count) => sum + count, 0)

const distrust = (by: Resident, whom: Person, request: object = {}): Promise<unknown> =>
  by.owner.ask('POST', `/v1/trust/${whom.hex}/distrust`, request)

const sellerIn = ({ sellers }: DownloadJson, { person }: Resident) => sellers.find(({ id }) => id === person.hex)

async function publish({ clock, library }: World, issuer: Person, subjects: readonly Person[], before?: Uint8Array) {
  const nowMs = clock.now()
  const vouches = subjects.map(({ id }): Vouch => ({
    subject: id,
    depth: 0,
    credit: 32,
    scope: '',
    notBefore: nowMs,
    expires: nowMs + DAY_MS,
    salt: id.slice(0, 16),
  }))
  const terms = { issuer: issuer.id, issued: nowMs, expires: nowMs + DAY_MS }
  const book = writeBook(
    before ? { ...terms, seq: 1, prev: before as never } : { ...terms, seq: 0 },
    vouches,
    issuer.signer,
  )
  await library.putBook(issuer.hex, book)
  return parseHead(book.head).id
}

describe('a seller that is distrusted in the midst of a download', () => {
  test.each(['ticks first', 'credit'])('gets no further tick, and another seller sends the rest (%s)', async (mode) => {
    const world = await openWorld()
    const [anna, bert, buyer] = [await moveIn(world, 'anna'), await moveIn(world, 'bert'), await moveIn(world, 'buyer')]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await bert.share('film.bin', filmOf(PIECES), { price: 1n })
    if (mode === 'credit') await anna.vouch([buyer.person], 8)
    let ticksThen = -1
    const seen = watch(anna, async (served) => {
      if (served !== 6) return
      await distrust(buyer, anna.person)
      ticksThen = seen.ticks
    })
    const done = await download(world, buyer, share.infoHash)
    expect(done).toMatchObject({ state: 'done', piecesDone: PIECES })
    expect(ticksThen).toBeGreaterThan(0)
    expect(seen.ticks).toBe(ticksThen)
    expect(sellerIn(done, anna)).toMatchObject({ status: 'distrusted' })
    expect(buyer.disk.files.get('film.bin')?.bytes).toEqual(filmOf(PIECES))
  })

  test('is the only seller: the download waits, and goes on when it is trusted again', async () => {
    const world = await openWorld()
    const [anna, buyer] = [await moveIn(world, 'anna'), await moveIn(world, 'buyer')]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    const seen = watch(anna, async (served) => {
      if (served === 3) await distrust(buyer, anna.person)
    })
    const waiting = download(world, buyer, share.infoHash, 60_000)
    expect(await waiting).toMatchObject({ state: 'waiting', reason: 'no-sellers' })
    const sent = sentIn(seen)
    expect(sent).toBeLessThan(PIECES)
    buyer.service.start()
    await buyer.owner.ask('PUT', '/v1/trust', { distrusted: [] })
    expect(await download(world, buyer, share.infoHash)).toMatchObject({ state: 'done' })
    expect(sentIn(seen)).toBeGreaterThan(sent)
  })
})

describe('a buyer that is pruned in the midst of a download', () => {
  test('gets no further credit, at once, when the seller distrusts it', async () => {
    const world = await openWorld()
    const [anna, buyer] = [await moveIn(world, 'anna'), await moveIn(world, 'buyer')]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([buyer.person], 8)
    let then = 0
    const seen = watch(anna, async (served) => {
      if (served !== 6) return
      await distrust(anna, buyer.person)
      then = seen.sent['credit'] ?? 0
    })
    const done = await download(world, buyer, share.infoHash)
    expect(then).toBeLessThan(PIECES / 2)
    expect(seen.sent['credit']).toBe(then)
    // As a stranger, that pays first, it may go on.
    expect(done).toMatchObject({ state: 'done', piecesDone: PIECES })
  })

  test('gets none within five seconds when a vouch on the way to it is revoked', async () => {
    const world = await openWorld()
    const { clock } = world
    const [anna, buyer, middle] = [
      await moveIn(world, 'anna'),
      await moveIn(world, 'buyer'),
      await world.person('middle'),
    ]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    const before = await publish(world, middle, [buyer.person])
    let revokedMs = 0
    let lastCreditMs = 0
    const seen = watch(anna, async (served) => {
      if (served === 6) {
        await publish(world, middle, [], before)
        revokedMs = clock.now()
      }
      if (revokedMs > 0) clock.advance(500)
    })
    const count = () => seen.sent['credit'] ?? 0
    let known = 0
    const tamper = anna.tamper
    anna.tamper = async (request, answer) => {
      const reply = await (tamper as NonNullable<typeof tamper>)(request, answer)
      if (count() > known) [known, lastCreditMs] = [count(), clock.now()]
      return reply
    }
    const done = await download(world, buyer, share.infoHash)
    expect(done).toMatchObject({ state: 'done', piecesDone: PIECES })
    expect(count()).toBeGreaterThanOrEqual(6)
    expect(count()).toBeLessThan(PIECES)
    expect(lastCreditMs - revokedMs).toBeLessThanOrEqual(5_000 + 500)
    expect(limits.verdictMs).toBeLessThan(5_000)
  })

  test('stays pruned when somebody introduces it again', async () => {
    const world = await openWorld()
    const [anna, buyer, middle] = [
      await moveIn(world, 'anna'),
      await moveIn(world, 'buyer'),
      await world.person('middle'),
    ]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    await distrust(anna, buyer.person)
    await publish(world, middle, [buyer.person])
    const seen = watch(anna, async () => undefined)
    expect(await download(world, buyer, share.infoHash)).toMatchObject({ state: 'done' })
    expect(seen.sent).not.toHaveProperty('credit')
    expect(sentIn(seen)).toBe(PIECES)
  })
})
