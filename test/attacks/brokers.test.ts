/** Brokers: asked first, and believed in nothing that is not signed by who has the content. */
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { USUAL_PACE } from '../../agent/download/pace.ts'
import { announce } from '../../protocol/announcement.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, seal, type Signer } from '../../protocol/signed.ts'
import { openCircleTown, type CircleTown, type Resident } from '../agent/circle-town.ts'
import { pattern } from '../pattern.ts'

let town: CircleTown
let buyer: Resident
let holder: Resident
let broker: Resident
let infoHash: string

beforeEach(async () => {
  town = openCircleTown()
  buyer = await town.open('buyer')
  holder = await town.open('holder')
  broker = await town.open('broker')
  infoHash = await shareAt(holder)
})
afterEach(() => town.close())

async function shareAt(one: Resident): Promise<string> {
  await one.put('file.bin', pattern(40_000))
  const { json } = await one.ask('POST', '/v1/shares', { path: 'file.bin', public: true })
  return (json as { infoHash: string }).infoHash
}
const name = (...brokers: string[]) => buyer.ask('PUT', '/v1/brokers', { brokers })
const ROUNDS = 4

async function download(one = buyer) {
  const { downloads } = one.agent
  const { id } = await downloads.start({ source: infoHash })
  for (let rounds = 0; ;) {
    const found = await downloads.get(id)
    if (!found || found.state === 'done' || found.state === 'failed') return found
    // Nobody is left to ask in this round.
    if (found.state === 'waiting' && rounds++ < ROUNDS) town.clock.advance(USUAL_PACE.refreshMs)
    await setImmediate()
  }
}
const swarmsAsked = () => town.requests.filter(({ path }) => path.endsWith('/swarm')).map(({ host }) => host)

/** What a broker of the test's own making answers about the sellers. */
function lies(sellers: readonly unknown[]): void {
  town.answer('liar.example', () => Response.json({ sellers }))
}
/** Signed well, and no announcement. */
const garbage = (signer: Signer) => ({ announcement: envelopeToJson(seal('announcement', { no: 1 }, signer)) })
const claim = (of: Resident, signer: Signer, changes: { url?: string; issued?: number; hash?: string } = {}) => {
  const { url = of.url, issued = town.clock.now(), hash = infoHash } = changes
  const terms = { agent: of.person.id, infoHash: fromHex(hash), issued, expires: issued + limits.announcementMs }
  const announcement = announce({ ...terms, modes: [], price: 0n, public: true, urls: [url] }, signer)
  return { announcement: envelopeToJson(announcement), delegation: envelopeToJson(of.context.delegation) }
}

describe('a broker', () => {
  test('is asked before the repository, which is left alone where the broker names who has it', async () => {
    await name(holder.url)
    expect(await download()).toMatchObject({ state: 'done', sellers: [{ id: holder.id }] })
    expect(swarmsAsked()).toEqual(['holder.example'])
  })

  test('that names nobody, or is away, leaves it to the repository', async () => {
    await name(broker.url, 'https://away.example')
    expect(await download()).toMatchObject({ state: 'done' })
    expect(swarmsAsked()).toEqual(['broker.example', 'away.example', 'repository.example'])
  })

  test('knows its neighbours: whom an agent has met it tells others of, and all of it without a repository', async () => {
    expect(await download(broker)).toMatchObject({ state: 'done' })
    await broker.ask('POST', '/v1/shares', { path: 'file.bin', public: true })
    await name(broker.url)
    town.setDown('repository.example', true)
    const found = await download()
    expect(found?.state).toBe('done')
    expect(found?.sellers.map(({ id }) => id).toSorted()).toEqual([broker.id, holder.id].toSorted())
  })

  test('names nobody whose announcement is over', async () => {
    await download()
    expect(await sellersTold()).toHaveLength(1)
    town.clock.advance(limits.announcementMs)
    expect(await sellersTold()).toEqual([])
  })

  test('may be a repository', async () => {
    await name('https://repository.example')
    expect(await download()).toMatchObject({ state: 'done' })
    expect(swarmsAsked()).toEqual(['repository.example'])
  })

  test('that names holders who are none cannot make one up, and costs a round at the most', async () => {
    await name('https://liar.example')
    const old = town.clock.now() - limits.announcementMs
    lies([
      claim(broker, holder.person.agent),
      claim(holder, holder.person.agent, { issued: old }),
      claim(holder, holder.person.agent, { hash: 'ab'.repeat(32) }),
      claim(holder, holder.person.agent, { url: 'https://127.0.0.1/' }),
      garbage(broker.person.agent),
    ])
    expect(await download()).toMatchObject({ state: 'done', sellers: [{ id: holder.id }] })
    town.requests.length = 0
    lies([claim(holder, holder.person.agent), garbage(broker.person.agent)])
    expect(await download()).toMatchObject({ state: 'done' })
    // Nor does it stop the agent from telling others.
    expect(await sellersTold()).toHaveLength(1)
    // Signed by who it names, and not there.
    lies([claim(broker, broker.person.agent)])
    const again = await town.open('again')
    await again.ask('PUT', '/v1/brokers', { brokers: ['https://liar.example'] })
    expect(await download(again)).toMatchObject({ state: 'done' })
    expect(swarmsAsked()).toContain('repository.example')
  })

  test('that answers nonsense, or too much, or a torrent of something else, changes nothing', async () => {
    await name('https://liar.example')
    for (const answer of [
      '{',
      JSON.stringify({ sellers: Array.from({ length: 65 }, () => claim(holder, holder.person.agent)) }),
    ]) {
      town.answer('liar.example', () => new Response(answer))
      expect(await download()).toMatchObject({ state: 'done' })
    }
    town.setDown('repository.example', true)
    town.answer('liar.example', () => new Response(pattern(1000)))
    await expect(buyer.agent.downloads.start({ source: infoHash })).rejects.toMatchObject({ code: 'bad-torrent' })
  })

  test('is one of a few, at a public address, or none', async () => {
    const many = Array.from({ length: limits.brokers + 1 }, (_, i) => `https://b${i}.example`)
    expect((await name(...many)).status).toBe(400)
    for (const url of ['https://127.0.0.1', 'http://b.example', 'https://169.254.169.254'])
      expect((await name(url)).json).toMatchObject({ code: 'address-refused' })
    expect((await name('https://b.example/', 'https://b.example')).json).toEqual({ brokers: ['https://b.example'] })
    expect((await buyer.ask('GET', '/v1/brokers')).json).toEqual({ brokers: ['https://b.example'] })
  })

  test('tells of nothing in a circle but that it is there', async () => {
    await holder.ask('PUT', '/v1/circles/lab', { kind: 'inner' })
    await holder.ask('POST', '/v1/shares', { path: 'file.bin', public: true, circle: 'lab' })
    const torrent = await fetchAt(`${holder.url}/v1/contents/${infoHash}/torrent`)
    expect(await torrent.json()).toMatchObject({ code: 'session-required' })
    expect((await fetchAt(`${holder.url}/v1/contents/${infoHash}/swarm`)).status).toBe(200)
  })
})

const fetchAt = (url: string) => town.environment.transport(new Request(url))
/** By the buyer, to whoever asks. */
async function sellersTold(): Promise<unknown[]> {
  const told = await fetchAt(`${buyer.url}/v1/contents/${infoHash}/swarm`)
  return ((await told.json()) as { sellers: unknown[] }).sellers
}
