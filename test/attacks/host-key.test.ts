/** A host whose agent's key is stolen, and requests in an owner's name that the owner never signed. */
import { beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { fromHex, toBase64url, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { delegate } from '../../protocol/delegation.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { applyOperation, genesis, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import { LEDGER_ID } from '../ledger/kit.ts'
import { gift } from '../ledger/people.ts'
import type { Answer } from './answer.ts'
import { bargain, buy } from './hand.ts'
import { filmOf, moveIn, PRICE, type Resident, type ShareJson } from './resident.ts'
import { FAUCET, openWorld, refused, unmoved, type Person, type World } from './world.ts'

const DAY_MS = 86_400_000

let world: World<HandClock>
let anna: Resident
let share: ShareJson

beforeEach(async () => {
  world = await openWorld()
  anna = await moveIn(world, 'anna')
  share = await anna.share('film.bin', filmOf(24))
})

const send = (path: string, objects: Readonly<Record<string, Envelope>>): Promise<Answer> =>
  world.post(
    `${world.ledger.url}/v1/${path}`,
    Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)])),
  )

describe('a thief with an agent’s key', () => {
  const CAPS = { day: 20n * PRICE, total: 30n * PRICE }

  /** All that the key is good for: lanes to the thief’s own seller, one download after the other. */
  async function plunder(victim: Person, accomplice: Resident): Promise<void> {
    for (let i = 0; i < 6; i++) {
      const salt = `${i} at ${world.clock.now()}`
      const made = bargain(victim, world, share, { units: 4, salt })
      if ((await send('declarations', { declaration: made.declaration })).status !== 201) continue
      const lane = made.laneTo(accomplice.person)
      await buy(accomplice, share, lane, 4)
      await world.post(`${accomplice.url}/v1/signoffs`, lane.signoff(4))
    }
  }

  test('takes what the delegation allows a day, what it allows in all, and not a credit more', async () => {
    const victim = await world.person('victim', CAPS)
    await plunder(victim, anna)
    expect((await world.money(victim)).available).toBe(FAUCET - CAPS.day)
    for (let day = 0; day < 3; day++) {
      world.clock.advance(DAY_MS)
      await plunder(victim, anna)
    }
    const { available, frozen } = await world.money(victim)
    expect(FAUCET - available - frozen).toBeLessThanOrEqual(CAPS.total)
    expect(FAUCET - available - frozen).toBe(28n * PRICE)
  })

  test('gives nothing away, delegates to nobody, changes no key', async () => {
    const victim = await world.person('victim', CAPS)
    const thief = await world.person('thief')
    const { agent, id, identity } = victim
    const state = applyOperation(undefined, identity, world.clock.now())
    await refused(world, () => send('transfers', { transfer: gift(victim, thief, 1n, agent) }), 'delegation-exceeded')
    const times = { issued: world.clock.now() + 1, expires: world.clock.now() + DAY_MS }
    const caps = { day: FAUCET, total: FAUCET, ledger: LEDGER_ID, may: ['spend'] as const, owner: id }
    for (const key of [agent.key, thief.agent.key]) {
      const delegation = delegate({ ...caps, ...times, agent: key }, agent)
      await refused(world, () => send('delegations', { delegation }), 'delegation-exceeded')
    }
    const rotation = rotate(state, [thief.signer.key], world.clock.now(), agent)
    await refused(world, () => send('rotations', { identity: rotation }), 'unknown-key')
  })

  test('is out with the delegation that the owner replaces', async () => {
    const victim = await world.person('victim', CAPS)
    await plunder(victim, anna)
    const lost = FAUCET - (await world.money(victim)).available
    const times = { issued: world.clock.now() + 1, expires: world.clock.now() + 2 }
    const none = {
      ...times,
      agent: victim.agent.key,
      ledger: LEDGER_ID,
      owner: victim.id,
      day: 0n,
      total: 0n,
      may: ['spend'] as const,
    }
    expect((await send('delegations', { delegation: delegate(none, victim.signer) })).status).toBe(201)
    world.clock.advance(DAY_MS)
    await unmoved(world, () => plunder(victim, anna))
    expect(FAUCET - (await world.money(victim)).available).toBe(lost)
  })

  test('who has the owner’s key too is out once the recovery key above it speaks', async () => {
    const [recovery, owner] = [signerFrom(sha256(utf8('recovery'))), signerFrom(sha256(utf8('owner')))]
    const first = genesis([recovery, owner], world.clock.now())
    const id = objectId('identity', first.body)
    expect((await send('accounts', { identity: first })).status).toBe(201)
    const state = applyOperation(undefined, first, world.clock.now())
    const stolen = rotate(state, [owner.key], world.clock.now(), owner)
    expect((await send('rotations', { identity: stolen })).status).toBe(201)
    const rescue = rotate(state, [recovery.key], world.clock.now(), recovery)
    expect((await send('rotations', { identity: rescue })).status).toBe(201)
    const victim = { id, signer: owner } as Person
    const thief = await world.person('thief')
    await refused(world, () => send('transfers', { transfer: gift(victim, thief, 1n, owner) }), 'unknown-key')
  })
})

/** The identity element and points of order 2, 4 and 8: under such a key one signature holds for every message. */
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
]

describe('a request in the owner’s name', () => {
  interface Signing {
    readonly signer?: Signer
    readonly audience?: string
    readonly nowMs?: number
    readonly nonce?: string
    readonly url?: string
    readonly body?: string
    readonly method?: string
  }

  async function signed(options: Signing = {}): Promise<Request> {
    const { body = JSON.stringify({ path: 'film.bin', price: '0' }), method = 'POST' } = options
    const request = new Request(options.url ?? `${anna.url}/v1/shares`, {
      method,
      ...(method === 'POST' && { body, headers: { 'content-type': 'application/json' } }),
    })
    return signRequest(request, {
      signer: options.signer ?? anna.person.signer,
      audience: options.audience ?? anna.person.hex,
      nowMs: options.nowMs ?? world.clock.now(),
      nonce: options.nonce ?? toBase64url(sha256(utf8(JSON.stringify(options.url ?? body)))),
    })
  }

  async function ask(request: Request, headers: Readonly<Record<string, string | undefined>> = {}): Promise<Answer> {
    const all = new Headers(request.headers)
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined) all.delete(name)
      else all.set(name, value)
    }
    const body = request.method === 'GET' ? {} : { body: await request.clone().arrayBuffer() }
    return world.ask(request.url, { method: request.method, headers: all, ...body })
  }

  test('is carried out once, as it was signed', async () => {
    const request = await signed()
    expect((await ask(request)).status).toBe(201)
    await refused(world, () => ask(request), 'stale-request')
  })

  test('is not carried out again for as long as its signature holds, whatever is forgotten meanwhile', async () => {
    const request = await signed()
    expect((await ask(request)).status).toBe(201)
    world.clock.advance(limits.requestAgeMs)
    await anna.service.maintain()
    await refused(world, () => ask(request), 'stale-request')
  })

  test.each<readonly [string, Signing, string]>([
    ['by nobody’s key', { signer: signerFrom(sha256(utf8('nobody'))) }, 'unknown-key'],
    ['for another audience', { audience: '0'.repeat(64) }, 'bad-signature'],
    ['too long ago', { nowMs: Date.UTC(2030, 0, 1) - limits.requestAgeMs - 1000 }, 'stale-request'],
    ['in the future', { nowMs: Date.UTC(2030, 0, 1) + limits.clockSkewMs + 1000 }, 'stale-request'],
    ['with a nonce that is none', { nonce: 'short' }, 'bad-signature'],
  ])('is refused when it was signed %s', async (_, options, code) => {
    const request = await signed(options)
    await refused(world, () => ask(request), code)
  })

  test('is refused when the agent’s own key signed it: a host is not its owner', async () => {
    const request = await signed({ signer: anna.person.agent })
    await refused(world, () => ask(request), 'unknown-key')
  })

  test('is refused without a signature, with half of one, or with one over the date alone', async () => {
    const request = await signed()
    await refused(world, () => ask(request, { signature: undefined, 'signature-input': undefined }), 'bad-signature')
    await refused(world, () => ask(request, { signature: undefined }), 'bad-signature')
    await refused(world, () => ask(request, { 'signature-input': undefined }), 'bad-signature')
    const date = new Date(world.clock.now()).toUTCString()
    await refused(world, () => ask(request, { date, ...covering(['date'], { date }) }), 'bad-signature')
  })

  test.each([
    [['@method']],
    [['@method', '@authority']],
    [['@method', '@authority', '@path', '@query']],
    [['@authority', '@method', '@path', '@query', 'content-digest']],
    [['@method', '@authority', '@path', '@query', 'content-digest', 'content-type']],
  ])('is refused when the signature covers %j', async (components) => {
    const request = await signed()
    const values = {
      '@method': 'POST',
      '@authority': 'anna.example',
      '@path': '/v1/shares',
      '@query': '?',
      'content-digest': request.headers.get('content-digest') ?? '',
      'content-type': 'application/json',
    }
    await refused(world, () => ask(request, covering(components, values)), 'bad-signature')
  })

  test('is refused with another body, path, method, query or host than was signed', async () => {
    const request = await signed()
    const headers = Object.fromEntries(request.headers)
    const move = (url: string, init: RequestInit = {}): Promise<Answer> =>
      world.ask(url, { method: 'POST', headers, body: '{"path":"film.bin","price":"0"}', ...init })
    await refused(world, () => move(request.url, { body: '{"path":"film.bin","price":"1"}' }), 'bad-signature')
    await refused(world, () => move(`${anna.url}/v1/links`), 'bad-signature')
    await refused(world, () => move(`${request.url}?all=1`), 'bad-signature')
    await refused(world, () => move(request.url, { method: 'PUT' }), 'bad-signature')
    const bert = await moveIn(world, 'bert')
    await refused(world, () => move(`${bert.url}/v1/shares`), 'bad-signature')
  })

  test('is refused with a key of small order, under which any signature holds', async () => {
    for (const key of SMALL_ORDER) {
      const forger: Signer = {
        key: fromHex(key),
        sign: () => new Uint8Array([...fromHex(SMALL_ORDER[0] ?? ''), ...ZERO]),
      }
      const request = await signed({ signer: forger })
      await refused(world, () => ask(request), 'bad-signature', key)
    }
  })

  test('cannot be made by an identity that has such a key', async () => {
    for (const key of SMALL_ORDER) {
      const forger: Signer = {
        key: fromHex(key),
        sign: () => new Uint8Array([...fromHex(SMALL_ORDER[0] ?? ''), ...ZERO]),
      }
      const identity = genesis([forger], world.clock.now())
      expect((await unmoved(world, () => send('accounts', { identity }))).status).toBeLessThan(402)
      const honest = signerFrom(sha256(utf8('honest')))
      const mixed = genesis([honest, forger], world.clock.now())
      expect((await unmoved(world, () => send('accounts', { identity: mixed }))).status).toBe(400)
    }
  })
})

const ZERO = new Uint8Array(32)

/** A true signature of the owner’s over other components than ours. */
function covering(components: readonly string[], values: Readonly<Record<string, string>>): Record<string, string> {
  const { signer, hex } = anna.person
  const created = Math.floor(world.clock.now() / 1000)
  const nonce = toBase64url(sha256(utf8(components.join(' '))))
  const names = components.map((name) => `"${name}"`).join(' ')
  const input = `(${names});created=${created};nonce="${nonce}";keyid="${toHex(signer.key)}";alg="ed25519";tag="raincheck/${hex}"`
  const lines = components.map((name) => `"${name}": ${values[name] ?? ''}`)
  const base: Bytes = utf8([...lines, `"@signature-params": ${input}`].join('\n'))
  return {
    'signature-input': `raincheck=${input}`,
    signature: `raincheck=:${btoa(String.fromCharCode(...signer.sign(base)))}:`,
  }
}
