import { describe, expect, it } from 'vitest'
import { fromUtf8, toHex } from '../../protocol/bytes.ts'
import { edgesOf, evidenceFromJson, type ChainsJson } from '../../protocol/chain.ts'
import { followLog, readSeen, type LogReader } from '../../protocol/follow-log.ts'
import { applyOperation, genesis, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { EMPTY_FRONTIER } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, objectId, signerFrom, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { evaluateOne } from '../../protocol/trust.ts'
import { parseHead } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import { stores, testRepository } from './kit.ts'
import { bookOf, NOW, numbered, person, vouchFor } from './people.ts'

const [ann, bob, cid, dan] = [person(1), person(2), person(3), person(4)]

async function opened() {
  const source = testRepository()
  const place = { isDown: false, nowMs: NOW, mayWrite: (_: string): boolean => true }
  const kept = stores.open()
  const store: Store = {
    ...kept,
    async write(changes) {
      if (changes.some(({ pk }) => !place.mayWrite(pk))) throw new Problem('store-unavailable', 'For a moment.')
      return kept.write(changes)
    },
  }
  const open = () =>
    createRepository({
      environment: {
        clock: { now: () => place.nowMs, sleep: () => new Promise<never>(() => undefined) },
        random: { bytes: (length) => new Uint8Array(length) },
        async transport(request) {
          if (place.isDown) throw new TypeError('connection refused')
          return source.app.fetch(request)
        },
      },
      store,
      mirrorOf: 'https://repository.example',
    })
  const mirror = open()
  const chainsOf = async ({ app }: Pick<typeof mirror, 'app'>): Promise<unknown> =>
    (await app.request(`/v1/chains?from=${toHex(ann.id)}&to=${toHex(cid.id)}`)).json()
  await source.register(ann, bob, cid)
  await source.putBook(ann, bookOf(ann, [vouchFor(bob.id)]))
  await source.putBook(bob, bookOf(bob, [vouchFor(cid.id)]))
  return { source, mirror, open, place, chainsOf }
}

describe('a mirror', () => {
  it('says what the log of the other says, and serves that log', async () => {
    const { source, mirror, chainsOf } = await opened()
    expect(await mirror.maintain()).toBe(5)
    expect(await chainsOf(mirror)).toEqual(await chainsOf(source))
    const info = (await (await mirror.app.request('/v1/repository')).json()) as { vkey: string; timeKey: string }
    expect(info).toEqual((await source.get('/v1/repository')).json)
    const log: LogReader = {
      checkpoint: async () => (await mirror.app.request('/checkpoint')).text(),
      tile: async (path) => new Uint8Array(await (await mirror.app.request(`/${path}`)).arrayBuffer()),
    }
    const seen = readSeen(await log.checkpoint(), { vkey: info.vkey, timeKeys: [info.timeKey] })
    expect((await followLog(log, EMPTY_FRONTIER, seen)).entries).toHaveLength(5)
  })

  it('takes over what comes later, also what it missed in between, and a revocation', async () => {
    const { source, mirror, open, chainsOf } = await opened()
    await mirror.maintain()
    let before = bookOf(bob, [vouchFor(cid.id)])
    for (let seq = 1; seq < 4; seq++) {
      before = bookOf(bob, seq === 3 ? [] : [vouchFor(dan.id)], { seq, prev: parseHead(before.head).id })
      await source.putBook(bob, before)
    }
    const later = open()
    expect(await later.maintain()).toBe(3)
    expect(await later.maintain()).toBe(0)
    const evidence = evidenceFromJson((await chainsOf(later)) as ChainsJson, NOW)
    expect(evaluateOne(ann.id, cid.id, edgesOf(evidence, NOW)).trusted).toBe(false)
  })

  it('goes on serving while the other is down', async () => {
    const { source, mirror, place, chainsOf } = await opened()
    await mirror.maintain()
    place.isDown = true
    await expect(mirror.maintain()).rejects.toMatchObject({ code: 'peer-failed' })
    expect(await chainsOf(mirror)).toEqual(await chainsOf(source))
    expect(fromUtf8(new Uint8Array(await (await mirror.app.request('/checkpoint')).arrayBuffer()))).toContain('\n5\n')
  })

  it('goes by which operation the other lets override which, however late it comes by it', async () => {
    const { source, mirror, place } = await opened()
    const keys = [signerFrom(numbered(6, 1)), signerFrom(numbered(6, 2))] as const
    const state = applyOperation(undefined, genesis(keys, NOW), NOW)
    const stolen = rotate(state, [keys[1].key], NOW, keys[1])
    const register = (...operations: readonly Envelope[]) =>
      source.ask('POST', '/v1/identities', { operations: operations.map(envelopeToJson) })
    await register(...state.operations.map(({ envelope }) => envelope), stolen)
    await mirror.maintain()
    source.setNow(NOW + limits.recoveryWindowMs)
    await register(rotate(state, [keys[0].key], NOW, keys[0], 0))
    await source.register(dan)
    place.nowMs = NOW + limits.recoveryWindowMs + 1
    expect(await mirror.maintain()).toBe(2)
    for (const id of [state.id, dan.id]) {
      const path = `/v1/identities/${toHex(id)}`
      expect(await (await mirror.app.request(path)).json()).toEqual((await source.get(path)).json)
    }
  })

  it('whose clock is behind takes what the other took from owners whose clocks are ahead', async () => {
    const { source, mirror, place } = await opened()
    const ahead = NOW + limits.clockSkewMs
    const book = bookOf(dan, [], { issued: ahead, expires: ahead + 1000 })
    await source.register(dan)
    expect(await source.putBook(dan, book)).toMatchObject({ status: 201 })
    const operation = genesis([signerFrom(numbered(6, 3))], ahead)
    await source.ask('POST', '/v1/identities', { operations: [envelopeToJson(operation)] })
    place.nowMs = NOW - 1000
    expect(await mirror.maintain()).toBe(8)
    expect((await mirror.app.request(`/v1/books/${toHex(dan.id)}`)).status).toBe(200)
    expect((await mirror.app.request(`/v1/identities/${toHex(objectId('identity', operation.body))}`)).status).toBe(200)
  })

  it.each(['identity/', 'book/'])('goes on from where it was when it could not write %s', async (what) => {
    const { source, mirror, place, chainsOf } = await opened()
    place.mayWrite = (pk) => !pk.startsWith(what)
    await expect(mirror.maintain()).rejects.toMatchObject({ code: 'store-unavailable' })
    place.mayWrite = () => true
    expect(await mirror.maintain()).toBe(5)
    expect(await chainsOf(mirror)).toEqual(await chainsOf(source))
  })

  it('takes nothing from anybody else', async () => {
    const { mirror } = await opened()
    await mirror.maintain()
    const response = await mirror.app.request(`/v1/books/${toHex(ann.id)}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(response.status).toBe(403)
    expect(await response.json()).toMatchObject({ code: 'forbidden' })
  })

  it('takes no log that does not lead to its checkpoint, or that shrinks', async () => {
    const { source, mirror } = await opened()
    await mirror.maintain()
    const other = testRepository()
    await other.register(dan)
    const checkpoint = fromUtf8((await other.get('/checkpoint')).bytes)
    const lying = createRepository({
      environment: {
        clock: { now: () => NOW, sleep: () => new Promise<never>(() => undefined) },
        random: { bytes: (length) => new Uint8Array(length) },
        transport: async (request) =>
          request.url.endsWith('/checkpoint') ? new Response(checkpoint) : source.app.fetch(request),
      },
      store: stores.open(),
      mirrorOf: 'https://repository.example',
    })
    await expect(lying.maintain()).rejects.toMatchObject({ code: 'peer-failed' })
  })
})
