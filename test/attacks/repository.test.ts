/** Repositories that are down, hide what was revoked, or show two agents two histories: over HTTP, with agents that trade. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { isSplitView } from '../../protocol/follow-log.ts'
import { limits } from '../../protocol/limits.ts'
import { noteKey, formatVerifierKey } from '../../protocol/checkpoint.ts'
import { envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { decodePayment } from '../../protocol/x402.ts'
import { parseHead, writeBook } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { declared } from './hand.ts'
import { download, filmOf, moveIn, type Resident } from './resident.ts'
import { openWorld, type Person, type World } from './world.ts'

const DAY_MS = 86_400_000
const PIECES = 40

async function publish({ clock, library }: World, issuer: Person, subjects: readonly Person[], prev?: Uint8Array) {
  const nowMs = clock.now()
  const vouches = subjects.map(({ id }) => ({
    subject: id,
    depth: 0,
    credit: 32,
    scope: '',
    notBefore: nowMs,
    expires: nowMs + DAY_MS,
    salt: id.slice(0, 16),
  }))
  const terms = { issuer: issuer.id, issued: nowMs, expires: nowMs + DAY_MS, seq: prev ? 1 : 0 }
  const book = writeBook({ ...terms, ...(prev && { prev: prev as never }) }, vouches, issuer.signer)
  await library.putBook(issuer.hex, book)
  return parseHead(book.head).id
}

/** Pieces sent in each mode; calls back with each. */
function watch(seller: Resident, onPiece: (sent: number) => Promise<unknown>): Record<string, number> {
  const sent: Record<string, number> = {}
  seller.tamper = async (request, answer) => {
    const header = request.headers.get('payment-signature')
    const reply = await answer()
    if (header === null || reply.status !== 200) return reply
    const { mode } = decodePayment(header).accepted.extra
    sent[mode] = (sent[mode] ?? 0) + 1
    await onPiece(Object.values(sent).reduce((sum, count) => sum + count, 0))
    return reply
  }
  return sent
}

const goDown = (world: World): Promise<string> => world.host('repository', () => new Response('down', { status: 503 }))

describe('a repository that goes down', () => {
  test('costs agents that know each other nothing: a download on credit by a chain goes on', async () => {
    const world = await openWorld()
    const [anna, buyer, middle] = [
      await moveIn(world, 'anna'),
      await moveIn(world, 'buyer'),
      await world.person('middle'),
    ]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    await publish(world, middle, [buyer.person])
    const sent = watch(anna, async (count) => {
      if (count === 4) await goDown(world)
      if (count >= 4) world.clock.advance(limits.verdictMs)
    })
    const done = await download(world, buyer, share.infoHash)
    expect(done).toMatchObject({ state: 'done', piecesDone: PIECES })
    expect(Object.keys(sent)).toEqual(['credit'])
  })

  test('and stays down for an hour leaves the first hop alone', async () => {
    const world = await openWorld()
    const [anna, buyer, middle] = [
      await moveIn(world, 'anna'),
      await world.person('buyer'),
      await world.person('middle'),
    ]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    await publish(world, middle, [buyer])
    const take = async (who: Person, first: number) => {
      const bargain = await declared(world, who, share, {
        unitPrice: 1n,
        salt: String(first),
        expires: world.clock.now() + DAY_MS,
      })
      const lane = bargain.laneTo(anna.person, { mode: 'credit' })
      return (await world.clock.until(anna.piece(share, first, lane.pay(0)))).code
    }
    expect(await take(buyer, 0)).toBe('ok')
    await goDown(world)
    world.clock.advance(limits.freshMs)
    expect(await take(buyer, 1)).toBe('ok')
    world.clock.advance(limits.staleMs)
    expect(await take(buyer, 2)).toBe('credit-exceeded')
    expect(await take(middle, 3)).toBe('ok')
  })
})

describe('a repository that hides a revocation', () => {
  test('is found out by its own log, and the revoked get nothing', async () => {
    const world = await openWorld()
    const [anna, buyer, middle] = [
      await moveIn(world, 'anna'),
      await world.person('buyer'),
      await world.person('middle'),
    ]
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    const before = await publish(world, middle, [buyer])
    const lane = (await declared(world, buyer, share, { unitPrice: 1n })).laneTo(anna.person, { mode: 'credit' })
    expect((await anna.piece(share, 0, lane.pay(0))).code).toBe('ok')
    const path = `${world.repository.url}/v1/chains?from=${anna.person.hex}&to=${buyer.hex}`
    const old = (await world.ask(path)).body
    await publish(world, middle, [], before)
    await world.host('repository', (request) =>
      request.url.includes('/v1/chains')
        ? new Response(old, { headers: { 'content-type': 'application/json' } })
        : world.repository.app.fetch(request),
    )
    world.clock.advance(limits.verdictMs)
    expect((await anna.piece(share, 1, lane.pay(0))).code).toBe('credit-exceeded')
    const breaches = await anna.owner.ask<{ kind: string }[]>('GET', '/v1/breaches')
    expect(breaches).toMatchObject([{ kind: 'hidden-revocation' }])
  })

  test.each([
    ['never logging it is found out by who published it', 'dropped-book', true],
    ['another history than it showed before is found out', 'split-view', false],
  ])('by %s', async (_, kind, isEarly) => {
    const world = await openWorld()
    const [anna, middle] = [await moveIn(world, 'anna'), await world.person('middle')]
    const { repository } = world
    // The same key, as it draws the same; another log from the third entry on.
    const twin = createRepository({ environment: world.environmentOf('repository'), store: openSqlite(':memory:') })
    const register = ({ identity }: Person) =>
      twin.app.request('/v1/identities', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ operations: [envelopeToJson(identity)] }),
      })
    const showTwin = () =>
      world.host('repository', (request) =>
        /checkpoint|\/tile\//.test(request.url) ? twin.app.fetch(request) : repository.app.fetch(request),
      )
    await register(anna.person)
    await register(middle)
    if (isEarly) await showTwin()
    await anna.vouch([middle], 5)
    await register(await world.person('crowd'))
    await showTwin()
    world.clock.advance(limits.verdictMs * 2)
    await anna.service.maintain()
    const breaches = await anna.owner.ask<{ kind: string; notes?: [string, string] }[]>('GET', '/v1/breaches')
    expect(breaches).toMatchObject([{ kind }])
    const { json } = await world.ask(`${repository.url}/v1/repository`)
    const keys = { vkey: String(json['vkey']), timeKeys: [String(json['timeKey'])] }
    for (const { notes } of breaches) if (notes) expect(isSplitView(...notes, keys)).toBe(true)
  })
})

describe('a repository that shows two agents two histories', () => {
  test('is found out when the two trade, with a proof that needs nobody', async () => {
    const world = await openWorld()
    const { clock } = world
    const secret = sha256(utf8('two faces'))
    const faces = [0, 1].map((face) =>
      createRepository({
        environment: world.environmentOf(`face ${face}`),
        store: openSqlite(':memory:'),
        secret,
        origin: 'faces.example',
      }),
    )
    const [anna, buyer, middle] = [
      await world.person('anna'),
      await world.person('buyer'),
      await world.person('middle'),
    ]
    const post = (face: number, path: string, json: unknown, method = 'POST') =>
      faces[face]?.app.request(path, {
        method,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(json),
      })
    await post(0, '/v1/identities', { operations: [envelopeToJson(anna.identity)] })
    await post(0, '/v1/identities', { operations: [envelopeToJson(middle.identity)] })
    await post(1, '/v1/identities', { operations: [envelopeToJson(buyer.identity)] })
    await post(1, '/v1/identities', { operations: [envelopeToJson(middle.identity)] })
    clock.advance(1000)
    const notes = await Promise.all(faces.map(async ({ app }) => (await app.request('/checkpoint')).text()))
    const { key } = signerFrom(secret)
    const keys = {
      vkey: formatVerifierKey(noteKey('faces.example', key)),
      timeKeys: [formatVerifierKey(noteKey('faces.example', key, 'cosignature'))],
    }
    expect(isSplitView(notes[0] ?? '', notes[1] ?? '', keys)).toBe(true)
  })
})
