/** Repositories that are down, hide what was revoked, or show two agents two histories: over HTTP, with agents that trade. */
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { parseBreach, verifyFork, type Finding, type Fork } from '../../protocol/breach.ts'
import { addSignature, formatVerifierKey, parseCheckpoint, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { cosign } from '../../protocol/cosignature.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { envelopeToJson, signerFrom, type Envelope } from '../../protocol/signed.ts'
import type { WitnessPlace } from '../../protocol/witness-client.ts'
import { decodePayment } from '../../protocol/x402.ts'
import { parseHead, writeBook } from '../../protocol/vouch.ts'
import { createRepository, type Repository } from '../../repository/repository.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { openWitness } from '../ledger/witness/kit.ts'
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

/** The same key, as it draws the same; another log, of so many entries. */
async function twinOf(world: World, entries: number): Promise<Repository> {
  const twin = createRepository({ environment: world.environmentOf('repository'), store: openSqlite(':memory:') })
  const names = Array.from({ length: entries }, (_, i) => `stand-in ${i}`)
  const operations = names.map((name) => genesis([signerFrom(sha256(utf8(name)))], world.clock.now()))
  for (const operation of operations) await register(twin, operation)
  return twin
}

const register = ({ app }: Pick<Repository, 'app'>, identity: Envelope) =>
  app.request('/v1/identities', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ operations: [envelopeToJson(identity)] }),
  })

const isOfLog = ({ url }: Pick<Request, 'url'>): boolean => /checkpoint|\/tile\//.test(url)

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
    ['another history than it showed before is found out', 'fork', false],
  ])('by %s', async (_, kind, isEarly) => {
    const world = await openWorld()
    const [anna, middle] = [await moveIn(world, 'anna'), await world.person('middle')]
    const { repository } = world
    const twin = await twinOf(world, 0)
    const showTwin = () =>
      world.host('repository', (request) => (isOfLog(request) ? twin : repository).app.fetch(request))
    await register(twin, anna.person.identity)
    await register(twin, middle.identity)
    if (isEarly) await showTwin()
    await anna.vouch([middle], 5)
    await register(twin, (await world.person('crowd')).identity)
    await showTwin()
    world.clock.advance(limits.verdictMs * 2)
    await anna.service.maintain()
    const breaches = await anna.owner.ask<{ kind: string }[]>('GET', '/v1/breaches')
    expect(breaches).toMatchObject([{ kind }])
    for (const breach of breaches)
      if (breach.kind === 'fork') expect(verifyFork(parseBreach(breach) as Fork)).toMatchObject({ kind: 'fork' })
  })
})

/** What an agent holds against the repository, checked by somebody who has nothing else. */
async function forksOf({ owner }: Resident): Promise<Finding[]> {
  const breaches = await owner.ask<unknown[]>('GET', '/v1/breaches')
  return breaches.map((breach) => verifyFork(parseBreach(JSON.parse(JSON.stringify(breach))) as Fork))
}

describe('a repository that shows two agents two histories', () => {
  test.each([
    ['as long as each other', 0, 'both'],
    ['of which the seller sees the longer', -4, 'anna'],
    ['of which the buyer sees the longer', 4, 'buyer'],
  ])('%s, is found out when the two trade, with a proof that needs nobody', async (_, more, finder) => {
    const world = await openWorld()
    const real = world.environmentOf('buyer')
    const shown: { twin?: Repository } = {}
    const isTurned = ({ url }: Request): boolean => url.startsWith(world.repository.url) && isOfLog({ url })
    const environment = {
      ...real,
      transport: async (request: Request) =>
        shown.twin && isTurned(request) ? shown.twin.app.fetch(request) : real.transport(request),
    }
    const [anna, middle] = [await moveIn(world, 'anna'), await world.person('middle')]
    const buyer = await moveIn(world, 'buyer', { environment })
    const share = await anna.share('film.bin', filmOf(PIECES), { price: 1n })
    await anna.vouch([middle], 32, 1)
    await publish(world, middle, [buyer.person])
    const { size } = parseCheckpoint((await world.library.checkpoint()).replace(/\n\n[^]*/, '\n'))
    shown.twin = await twinOf(world, size + more)
    world.clock.advance(limits.verdictMs)
    expect(await anna.owner.ask('GET', `/v1/trust/${buyer.person.hex}`)).toMatchObject({ credit: 32 })
    const done = await download(world, buyer, share.infoHash)
    expect(done).toMatchObject({ state: 'done', piecesDone: PIECES })
    const found = { anna: await forksOf(anna), buyer: await forksOf(buyer) }
    const { id, origin } = await world.library.info()
    const proof = [expect.objectContaining({ kind: 'fork', origin, ledger: id })]
    expect(found).toEqual({ anna: finder === 'buyer' ? [] : proof, buyer: finder === 'anna' ? [] : proof })
    // Who has found it out believes the owner's own vouches alone.
    const credit = finder === 'buyer' ? 32 : 0
    expect(await anna.owner.ask('GET', `/v1/trust/${buyer.person.hex}`)).toMatchObject({ credit })
    expect(await anna.owner.ask('GET', `/v1/trust/${middle.hex}`)).toMatchObject({ credit: 32 })
  })
})

/** A repository of the world's with three witnesses, each a host; two of them are enough. */
async function witnessed(world: World<HandClock>) {
  const key = parseVerifierKey((await world.library.info()).vkey)
  const clock = { ...world.clock, set: () => undefined, advance: () => undefined }
  const places: WitnessPlace[] = []
  for (const name of ['w0', 'w1', 'w2']) {
    const witness = openWitness({ logs: [key], name, clock })
    places.push({ key: witness.key, url: await world.host(name, (request) => witness.app.fetch(request)) })
  }
  const lines = places.map(({ key: each }, i) => `witness w${i} ${formatVerifierKey(each)}`)
  const repositoryWitnesses = parseLogPolicy([...lines, 'group two 2 w0 w1 w2', 'quorum two', ''].join('\n'))
  const open = () =>
    createRepository({
      environment: world.environmentOf('repository'),
      store: openSqlite(':memory:'),
      witnesses: places,
    })
  return { open, repositoryWitnesses }
}

describe('an agent that wants the word of two witnesses in three', () => {
  const creditOf = async (world: World<HandClock>, { owner }: Resident, who: Person): Promise<number> => {
    world.clock.advance(limits.verdictMs)
    return (await world.clock.until(owner.ask<{ credit: number }>('GET', `/v1/trust/${who.hex}`))).credit
  }

  test('misses neither one that is silent, nor a revocation for longer than its freshness allows', async () => {
    const world = await openWorld()
    const { open, repositoryWitnesses } = await witnessed(world)
    const repository = open()
    await world.host('repository', (request) => repository.app.fetch(request))
    const anna = await moveIn(world, 'anna', { repositoryWitnesses })
    const [middle, buyer] = [await world.person('middle'), await world.person('buyer')]
    await anna.vouch([middle], 32, 1)
    const before = await publish(world, middle, [buyer])
    expect(await creditOf(world, anna, buyer)).toBe(32)
    await world.host('w2', () => new Response('', { status: 503 }))
    world.clock.advance(limits.freshMs)
    expect(await creditOf(world, anna, buyer)).toBe(32)

    // The repository shows her what it was, and says each time that nothing has come since.
    const chains = (await world.ask(`${world.repository.url}/v1/chains?from=${anna.person.hex}&to=${buyer.hex}`)).body
    const { origin } = await world.library.info()
    const [text = '', ...signatures] = (await world.library.checkpoint()).split('\n\n')
    const said = signatures.join('').split('\n').slice(0, -2)
    const signer = signerFrom(world.environmentOf('repository').random.bytes(32))
    await publish(world, middle, [], before)
    await world.library.checkpoint()
    await world.host('repository', (request) => {
      if (request.url.includes('/v1/chains'))
        return new Response(chains, { headers: { 'content-type': 'application/json' } })
      if (!request.url.endsWith('/checkpoint')) return repository.app.fetch(request)
      const now = cosign(`${text}\n`, Math.floor(world.clock.now() / 1000), { name: origin, signer })
      return new Response(addSignature(`${text}\n\n${said.join('\n')}\n`, now))
    })
    expect(await creditOf(world, anna, buyer)).toBe(32)
    world.clock.advance(limits.freshMs)
    expect(await creditOf(world, anna, buyer)).toBe(limits.agingCredit)
    world.clock.advance(limits.staleMs)
    expect(await creditOf(world, anna, buyer)).toBe(0)
    expect(await creditOf(world, anna, middle)).toBe(32)
  })

  test('believes no second history: no honest witness has cosigned it', async () => {
    const world = await openWorld()
    const { open, repositoryWitnesses } = await witnessed(world)
    const [face, other] = [open(), open()]
    await world.host('repository', (request) => face.app.fetch(request))
    const [middle, buyer] = [await world.person('middle'), await world.person('buyer')]
    await publish(world, middle, [buyer])
    await world.library.checkpoint()
    await register(other, buyer.identity)
    await world.host('repository', (request) => (isOfLog(request) ? other : face).app.fetch(request))
    const [anna, bert] = [await moveIn(world, 'anna', { repositoryWitnesses }), await moveIn(world, 'bert')]
    for (const resident of [anna, bert]) await resident.vouch([middle], 32, 1)
    expect(await creditOf(world, anna, buyer)).toBe(0)
    expect(await creditOf(world, anna, middle)).toBe(32)
    expect(await creditOf(world, bert, buyer)).toBe(32)
  })
})
