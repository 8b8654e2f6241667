/** Content of a circle, and everybody who tries to have it without being of it. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { genesis, replay, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { formatSession, grantSession, parseSession, readSession, SESSION_HEADER } from '../../protocol/session.ts'
import { envelopeToJson, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { openCircleTown, signedBy, type CircleTown, type Resident } from '../agent/circle-town.ts'
import { pattern } from '../pattern.ts'
import { codeOf as problemOf } from '../problems.ts'
import { delegationOf, numbered } from '../repository/people.ts'

let town: CircleTown
let broker: Resident
let seller: Resident
let member: Resident
let stranger: Resident
let infoHash: string

beforeEach(async () => {
  town = openCircleTown()
  ;[broker, seller, member, stranger] = (await Promise.all(
    (['broker', 'seller', 'member', 'stranger'] as const).map((name) => town.open(name)),
  )) as [Resident, Resident, Resident, Resident]
})
afterEach(() => town.close())

/** A circle of seller and member, and a file of the seller's for its members. */
async function settle(kind: 'inner' | 'bubble'): Promise<void> {
  await broker.ask('PUT', '/v1/circles/lab', { kind, add: [seller.id, member.id] })
  for (const one of [seller, member, stranger]) expect((await join(one)).status).toBe(200)
  infoHash = await share('lab')
}
const join = (one: Resident, circle = 'lab') => one.ask('PUT', `/v1/circles/${circle}`, { url: broker.url })

async function share(circle: string): Promise<string> {
  await seller.put(`${circle}.bin`, pattern(40_000, circle.length))
  const answer = await seller.ask('POST', '/v1/shares', { path: `${circle}.bin`, public: true, circle })
  expect(answer).toMatchObject({ status: 201, json: { circle } })
  return (answer.json as { infoHash: string }).infoHash
}

const signerKey = (secret: Bytes): Bytes => signerFrom(secret).key

let number = 0
const granted = (to: Resident, circle = 'lab', signer: Signer = to.person.agent) =>
  grantTo(to.context.operations, signer, circle, to.context.delegation)

function grantTo(operations: readonly Envelope[], signer: Signer, circle: string, delegation?: Envelope) {
  const shown = { operations: operations.map(envelopeToJson) }
  const request = new Request(`${broker.url}/v1/sessions/${circle}`, {
    method: 'POST',
    body: JSON.stringify({ ...shown, ...(delegation && { delegation: envelopeToJson(delegation) }) }),
    headers: { 'content-type': 'application/json' },
  })
  return signedBy(town.clock, signer, broker.id, request, ++number)
}
async function sessionOf(to: Resident, circle = 'lab'): Promise<string> {
  const response = await town.environment.transport(await granted(to, circle))
  expect(response.status).toBe(201)
  return ((await response.json()) as { session: string }).session
}

const pieceUrl = (hash = infoHash): string => `${seller.url}/v1/pieces/${hash}/0`
const shown = (session: string, signer: Signer, url = pieceUrl(), audience = seller.id): Promise<Request> =>
  signedBy(town.clock, signer, audience, new Request(url, { headers: { [SESSION_HEADER]: session } }), ++number)
async function codeOf(request: Request | Promise<Request>): Promise<string | number> {
  const response = await town.environment.transport(await request)
  if (response.ok) return response.status
  return ((await response.json()) as { code: string }).code
}

describe.each(['inner', 'bubble'] as const)('content of an %s circle', (kind) => {
  beforeEach(() => settle(kind))

  test('goes to a member, and to nobody else', async () => {
    expect(await member.fetch(infoHash)).toMatchObject({ state: 'done' })
    expect(await broker.fetch(infoHash)).toMatchObject({ state: 'done' })
    expect(await stranger.fetch(infoHash)).toMatchObject({ state: 'waiting', reason: 'no-sellers' })
    expect(await codeOf(granted(stranger))).toBe('forbidden')
  })

  test('is told to nobody without a session, by whichever name and method it is asked for', async () => {
    const { agent } = seller
    const [one] = await agent.shares.list()
    for (const hash of [infoHash, one?.infoHashV1 as string]) {
      for (const path of ['', '/', '/0', '/1']) {
        const url = `${seller.url}/v1/pieces/${hash}${path}`
        if (path !== '/') expect(await codeOf(new Request(url))).toBe('session-required')
        expect((await agent.app.fetch(new Request(url, { method: 'HEAD' }))).status).not.toBe(200)
      }
    }
  })

  test('is not had with a stolen session: it is another key’s', async () => {
    const session = await sessionOf(member)
    expect(await codeOf(shown(session, stranger.person.agent))).toBe('unknown-key')
    expect(await codeOf(new Request(pieceUrl(), { headers: { [SESSION_HEADER]: session } }))).toBe('bad-signature')
    expect(await codeOf(shown(session, member.person.agent))).toBe(200)
  })

  test('is not had with a request that was seen, for another seller, or for another piece', async () => {
    const session = await sessionOf(member)
    const request = await shown(session, member.person.agent)
    expect(await codeOf(request.clone())).toBe(200)
    expect(await codeOf(request)).toBe('stale-request')
    expect(await codeOf(shown(session, member.person.agent, pieceUrl(), broker.id))).toBe('bad-signature')
    const { headers } = await shown(session, member.person.agent)
    expect(await codeOf(new Request(`${seller.url}/v1/pieces/${infoHash}/1`, { headers }))).toBe('bad-signature')
  })

  test('is not had with a session of another circle, or of one of the same name elsewhere', async () => {
    await broker.ask('PUT', '/v1/circles/club', { kind, add: [member.id] })
    expect(await codeOf(shown(await sessionOf(member, 'club'), member.person.agent))).toBe('forbidden')
    const terms = { holder: member.person.agent.key, member: member.person.id, nonce: numbered(1, 1, 16) }
    const times = { issued: town.clock.now(), expires: town.clock.now() + limits.sessionMs }
    const forge = (by: Resident, signer: Signer) =>
      formatSession(grantSession({ ...terms, ...times, by: by.person.id, circle: 'lab' }, signer))
    expect(await codeOf(shown(forge(stranger, stranger.person.agent), member.person.agent))).toBe('forbidden')
    expect(await codeOf(shown(forge(broker, stranger.person.agent), member.person.agent))).toBe('forbidden')
  })

  test('is not had with a session that is over, and its holder asks for another in time', async () => {
    const session = await sessionOf(member)
    town.clock.advance(limits.sessionMs)
    expect(await codeOf(shown(session, member.person.agent))).toBe('expired')
    expect(await member.fetch(infoHash)).toMatchObject({ state: 'done' })
  })

  test('is not had any more, well within the life of the session, by who was taken out', async () => {
    const session = await sessionOf(member)
    expect(await codeOf(shown(session, member.person.agent))).toBe(200)
    await broker.ask('PUT', '/v1/circles/lab', { remove: [member.id] })
    town.clock.advance(kind === 'inner' ? limits.verdictMs : limits.revocationsMs)
    if (kind === 'bubble') await seller.agent.maintain()
    expect(await codeOf(shown(session, member.person.agent))).toBe('forbidden')
    expect(await codeOf(granted(member))).toBe('forbidden')
    town.clock.advance(1)
    await broker.ask('PUT', '/v1/circles/lab', { add: [member.id] })
    town.clock.advance(limits.revocationsMs)
    await seller.agent.maintain()
    expect(await codeOf(shown(session, member.person.agent))).toBe('forbidden')
    expect(await codeOf(shown(await sessionOf(member), member.person.agent))).toBe(200)
  })

  test('is had while the broker is away only where members take each other’s sessions, and no longer than those last', async () => {
    const session = await sessionOf(member)
    town.setDown('broker.example', true)
    expect(await codeOf(shown(session, member.person.agent))).toBe(kind === 'inner' ? 'peer-failed' : 200)
    town.clock.advance(limits.sessionMs)
    expect(await codeOf(shown(session, member.person.agent))).toBe('expired')
  })

  test('stays in the circle when the seller has left it, until it is shared with everybody', async () => {
    await seller.ask('DELETE', '/v1/circles/lab')
    expect(await codeOf(shown(await sessionOf(member), member.person.agent))).toBe('session-required')
    await seller.ask('POST', '/v1/shares', { path: 'lab.bin', circle: '' })
    expect(await codeOf(new Request(pieceUrl()))).toBe(200)
  })
})

describe('a session', () => {
  beforeEach(() => settle('bubble'))

  test('that no broker signed leaves nothing behind, and has the broker asked once in a while', async () => {
    const terms = { by: broker.person.id, circle: 'lab', member: stranger.person.id, nonce: numbered(1, 1, 16) }
    town.setDown('broker.example', true)
    town.clock.advance(limits.revocationsMs)
    const times = { issued: town.clock.now(), expires: town.clock.now() + limits.sessionMs }
    const forged = formatSession(
      grantSession({ ...terms, ...times, holder: stranger.person.agent.key }, stranger.person.agent),
    )
    const asked = () => town.requests.filter(({ host }) => host === 'broker.example').length
    const before = asked()
    for (let i = 0; i < 5; i++) expect(await codeOf(shown(forged, stranger.person.agent))).toBe('forbidden')
    expect(asked()).toBe(before + 1)
    expect(await seller.context.store.list('session-nonce', { limit: 10 })).toEqual([])
  })

  test('lets in at its broker’s own agent only when that signed it, and its member is of the circle as it is now', async () => {
    await broker.put('own.bin', pattern(40_000, 1))
    const answer = await broker.ask('POST', '/v1/shares', { path: 'own.bin', public: true, circle: 'lab' })
    const url = `${broker.url}/v1/pieces/${(answer.json as { infoHash: string }).infoHash}/0`
    const [{ agent }, theirs] = [stranger.person, await sessionOf(member)]
    const { id: _, key: __, ...terms } = parseSession(readSession(theirs))
    const forged = formatSession(grantSession({ ...terms, holder: agent.key }, agent))
    expect(await codeOf(shown(forged, agent, url, broker.id))).toBe('forbidden')
    expect(await codeOf(shown(theirs, member.person.agent, url, broker.id))).toBe(200)
    await broker.ask('DELETE', '/v1/circles/lab')
    await broker.ask('PUT', '/v1/circles/lab', { add: [stranger.id] })
    expect(await codeOf(shown(theirs, member.person.agent, url, broker.id))).toBe('forbidden')
  })

  test('is shown many times, and what is kept of that goes away', async () => {
    const session = await sessionOf(member)
    for (let i = 0; i < 150; i++) expect(await codeOf(shown(session, member.person.agent))).toBe(200)
    town.clock.advance(limits.requestAgeMs + limits.clockSkewMs + 1000)
    await seller.agent.maintain()
    expect(await seller.context.store.list('session-nonce', { limit: 10 })).toEqual([])
  })

  test('is granted to the key that signs the request, as far as it acts for a member', async () => {
    expect(await codeOf(granted(member, 'lab', stranger.person.agent))).toBe('unknown-key')
    expect(await codeOf(granted(member, 'nowhere'))).toBe('not-found')
    const session = parseSession(readSession(await sessionOf(member)))
    expect(session.expires - session.issued).toBe(limits.sessionMs)
    expect(session.holder).toEqual(member.person.agent.key)
  })

  test('is not granted to an agent whose delegation is over', async () => {
    const { operations } = member.context
    const times = { issued: town.clock.now() - 1, expires: town.clock.now() }
    const over = delegationOf(member.person, ['spend'], times)
    expect(await codeOf(grantTo(operations, member.person.agent, 'lab', over))).toBe('delegation-exceeded')
  })

  test('is confirmed by its broker for its own circle, and as long as it lasts', async () => {
    await broker.ask('PUT', '/v1/circles/club', { add: [member.id] })
    const confirmed = (session: string, circle: string) => {
      const init = {
        method: 'POST',
        body: JSON.stringify({ session }),
        headers: { 'content-type': 'application/json' },
      }
      return codeOf(new Request(`${broker.url}/v1/sessions/${circle}/validations`, init))
    }
    const session = await sessionOf(member)
    expect([await confirmed(session, 'lab'), await confirmed(session, 'club')]).toEqual([200, 'forbidden'])
    town.clock.advance(limits.sessionMs)
    expect(await confirmed(session, 'lab')).toBe('expired')
  })

  test('holds while others are taken in and out', async () => {
    const session = await sessionOf(member)
    await broker.ask('PUT', '/v1/circles/lab', { add: [stranger.id] })
    await broker.ask('PUT', '/v1/circles/lab', { remove: [stranger.id] })
    town.clock.advance(limits.revocationsMs)
    await seller.agent.maintain()
    expect(await codeOf(shown(session, member.person.agent))).toBe(200)
  })

  test('is not granted to an agent whose owner has changed keys since', async () => {
    const { state, owner } = member.person
    const rotation = rotate(state, [stranger.person.owner.key], town.clock.now(), owner)
    await member.context.repository.putIdentity([rotation])
    expect(await codeOf(granted(member))).toBe('unknown-key')
  })

  test('is not granted for keys of before, though the repository is away or has forgotten those of now', async () => {
    const { state, owner, operations } = member.person
    const rotation = rotate(state, [stranger.person.owner.key], town.clock.now(), owner)
    await member.context.repository.putIdentity([rotation])
    expect(await codeOf(granted(member))).toBe('unknown-key')
    town.setDown('repository.example', true)
    expect(await codeOf(granted(member))).toBe('unknown-key')
    town.setDown('repository.example', false)
    town.answer('repository.example', () => Response.json({ operations: operations.map(envelopeToJson) }))
    expect(await codeOf(granted(member))).toBe('unknown-key')
  })

  test('is not granted for a change of keys that was undone, however many follow it', async () => {
    const [above, everyday, theirs] = [
      signerFrom(numbered(3, 1)),
      signerFrom(numbered(3, 2)),
      signerFrom(numbered(3, 3)),
    ]
    const nowMs = town.clock.now()
    const first = genesis([above, everyday], nowMs)
    const state = replay([first], nowMs)
    const undone = rotate(state, [above.key, theirs.key], nowMs, everyday)
    const later = rotate(replay([first, undone], nowMs), [theirs.key], nowMs, theirs)
    await broker.ask('PUT', '/v1/circles/lab', { add: [Buffer.from(state.id).toString('hex')] })
    const { repository } = broker.context
    await repository.putIdentity([first])
    expect(await codeOf(grantTo([first], everyday, 'lab'))).toBe(201)
    await repository.putIdentity([rotate(state, [above.key], nowMs, above)])
    expect(await codeOf(grantTo([first, undone, later], theirs, 'lab'))).toBe('conflict')
    expect(await codeOf(grantTo([first], above, 'lab'))).toBe(201)
  })

  test('is not granted for what undoes a change of keys, unless the repository has taken it', async () => {
    const [lost, everyday, recovery, theirs] = [1, 2, 3, 4].map((n) => signerFrom(numbered(3, n))) as [
      Signer,
      Signer,
      Signer,
      Signer,
    ]
    const first = genesis([lost, everyday], town.clock.now())
    const state = replay([first], town.clock.now())
    const changed = rotate(state, [recovery.key, everyday.key], town.clock.now(), everyday)
    const { repository } = broker.context
    await broker.ask('PUT', '/v1/circles/lab', { add: [Buffer.from(state.id).toString('hex')] })
    await repository.putIdentity([first, changed])
    const undoing = () => rotate(state, [theirs.key], town.clock.now(), lost, 0)
    expect(await codeOf(grantTo([first, undoing()], theirs, 'lab'))).toBe('conflict')
    town.clock.advance(limits.recoveryWindowMs + 1)
    expect(await problemOf(repository.putIdentity([undoing()]))).toBe('conflict')
    expect(await codeOf(grantTo([first, undoing()], theirs, 'lab'))).toBe('conflict')
    expect(await codeOf(grantTo([first, changed], everyday, 'lab'))).toBe(201)
  })

  test('is granted to who has undone what a thief of the everyday key did, once the repository knows', async () => {
    const [recovery, everyday, theirs] = [1, 2, 3].map((n) => signerFrom(numbered(3, n))) as [Signer, Signer, Signer]
    const nowMs = town.clock.now()
    const first = genesis([recovery, everyday], nowMs)
    const state = replay([first], nowMs)
    const { repository } = broker.context
    await broker.ask('PUT', '/v1/circles/lab', { add: [Buffer.from(state.id).toString('hex')] })
    await repository.putIdentity([first, rotate(state, [recovery.key, theirs.key], nowMs, everyday)])
    const undoing = rotate(state, [recovery.key], nowMs, recovery, 0)
    await repository.putIdentity([undoing])
    expect(await codeOf(grantTo([first, undoing], recovery, 'lab'))).toBe(201)
  })

  test('is worth nothing from a broker whose owner has taken its keys away, wherever it goes on', async () => {
    const { state, owner } = broker.person
    expect(await codeOf(shown(await sessionOf(member), member.person.agent))).toBe(200)
    await broker.context.repository.putIdentity([
      rotate(state, [numbered(3, 9)].map(signerKey), town.clock.now(), owner),
    ])
    town.clock.advance(limits.sessionMs)
    await seller.agent.maintain()
    expect(await codeOf(shown(await sessionOf(member), member.person.agent))).toBe('peer-failed')
    expect(await join(stranger, 'lab')).toMatchObject({ json: { code: 'unknown-key' } })
  })

  test('is not granted to a stranger, who has nobody asked either', async () => {
    const asked = () => town.requests.filter(({ host }) => host === 'repository.example').length
    const before = asked()
    expect(await codeOf(granted(stranger))).toBe('forbidden')
    // Nor does who has a member's operations, as anybody may, learn that it is one.
    expect(await codeOf(grantTo(stranger.context.operations, broker.person.agent, 'lab'))).toBe('unknown-key')
    expect(await codeOf(grantTo(member.context.operations, broker.person.agent, 'lab'))).toBe('unknown-key')
    expect(asked()).toBe(before)
  })

  test('is asked for once, and again when a minute of it is left', async () => {
    const asked = () => town.requests.filter(({ host }) => host === 'broker.example').length
    const before = asked()
    expect(await member.fetch(infoHash)).toMatchObject({ state: 'done' })
    expect(asked()).toBe(before + 1)
    town.clock.advance(limits.sessionMs - limits.sessionRenewedMs)
    await seller.agent.maintain()
    const again = asked()
    expect(await member.fetch(await share('lab'))).toMatchObject({ state: 'done' })
    expect(asked()).toBe(again + 1)
  })

  test('is of a circle that another’s agent cannot take the place of', async () => {
    await stranger.ask('DELETE', '/v1/circles/lab')
    await stranger.ask('PUT', '/v1/circles/lab', { add: [member.id] })
    expect((await join(member)).status).toBe(200)
    expect((await member.ask('PUT', '/v1/circles/lab', { url: stranger.url })).json).toMatchObject({ code: 'conflict' })
    expect((await member.ask('PUT', '/v1/circles/lab', { add: [stranger.id] })).json).toMatchObject({
      code: 'conflict',
    })
    town.answer('broker.example', (request) => stranger.agent.app.fetch(request))
    town.clock.advance(limits.revocationsMs)
    await member.agent.maintain()
    expect((await member.ask('GET', '/v1/circles')).json).toMatchObject([{ by: broker.id }])
    expect((await member.ask('PUT', '/v1/circles/Lab!', { kind: 'inner' })).status).toBe(400)
    expect((await member.ask('PUT', '/v1/circles/none', { url: 'https://127.0.0.1' })).json).toMatchObject({
      code: 'address-refused',
    })
  })

  test('is of a broker that shows its own keys, and answers for itself and the circle it is asked for', async () => {
    const profile = await town.environment.transport(new Request(`${stranger.url}/.well-known/raincheck`))
    const theirs = (await profile.json()) as object
    async function joins(shown: object, answer: object): Promise<unknown> {
      const circle = { by: stranger.id, circle: 'den', kind: 'bubble', revoked: [], ...answer }
      town.answer('den.example', ({ url }) =>
        Response.json(url.endsWith('/raincheck') ? { ...theirs, ...shown } : circle),
      )
      const { status, json } = await member.ask('PUT', '/v1/circles/den', { url: 'https://den.example' })
      return status === 200 ? status : (json as { code: string }).code
    }
    expect(await joins({}, { by: broker.id })).toBe('peer-failed')
    expect(await joins({}, { circle: 'lab' })).toBe('peer-failed')
    expect(await joins({ id: broker.id }, { by: broker.id })).toBe('unknown-key')
    const nowMs = town.clock.now()
    const over = delegationOf(stranger.person, ['spend'], { issued: nowMs - 1, expires: nowMs })
    expect(await joins({ delegation: envelopeToJson(over) }, {})).toBe('delegation-exceeded')
    expect(await joins({}, {})).toBe(200)
  })

  test('is of a circle of so many members, and no more', async () => {
    const add = (from: number, count: number) =>
      broker.ask('PUT', '/v1/circles/lab', {
        add: Array.from({ length: count }, (_, i) => toHex(numbered(4, from + i))),
      })
    const part = limits.membersPerCircle / 8
    for (let from = 0; from < 7 * part; from += part) expect((await add(from, part)).status).toBe(200)
    expect((await add(7 * part, part - 1)).json).toMatchObject({ code: 'limit-reached' })
    expect((await add(7 * part, part - 2)).status).toBe(200)
  })
})
