/** Agents name their own URLs, so a URL is a stranger's word: it leads nowhere but to a public address, and nobody is sent on from there. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pinAddress, type Resolve } from '../../agent/clients/address-guard.ts'
import { pieceClientNode } from '../../agent/download/piece-client-node.ts'
import { guardedTransport } from '../../infra/pinned-transport.ts'
import { announce } from '../../protocol/announcement.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import type { Answer } from './answer.ts'
import { onSockets } from './ground.ts'
import { download, filmOf, moveIn, PRICE, type DownloadJson, type Resident, type ShareJson } from './resident.ts'
import { openWorld, openWorldOn, refused, type World } from './world.ts'

const HOUR_MS = 3_600_000
const LINK_LOCAL = 'http://169.254.169.254/latest/meta-data'

/** Nothing that is not on the public Internet, in the notations that a URL has for it. */
const PRIVATE = [
  'http://127.0.0.1:8402',
  'https://127.0.0.1',
  'https://127.1',
  'https://2130706433',
  'https://0x7f000001',
  'https://0177.0.0.1',
  'https://[::1]',
  'https://[::ffff:127.0.0.1]',
  'https://[::ffff:a9fe:a9fe]',
  'https://[64:ff9b::a9fe:a9fe]',
  'https://169.254.169.254',
  'https://168.63.129.16',
  'https://[fd00:ec2::254]',
  'https://10.0.0.7',
  'https://172.16.9.9',
  'https://192.168.1.1',
  'https://100.64.0.1',
  'https://0.0.0.0',
  'https://255.255.255.255',
  'https://localhost',
  'https://metadata.google.internal',
  'https://printer.local',
  'https://router',
  'http://seller.example',
]

const announcementOf = ({ person }: Resident, share: ShareJson, url: string, { clock }: Pick<World, 'clock'>) => ({
  announcement: envelopeToJson(
    announce(
      {
        agent: person.id,
        infoHash: fromHex(share.infoHash),
        issued: clock.now() + 1,
        expires: clock.now() + HOUR_MS,
        modes: ['prepaid'],
        price: PRICE,
        public: false,
        urls: [url],
      },
      person.agent,
    ),
  ),
  delegation: envelopeToJson(person.delegation),
})

describe('an agent’s URL', () => {
  let world: World<HandClock>
  let anna: Resident
  let share: ShareJson

  beforeEach(async () => {
    world = await openWorld()
    anna = await moveIn(world, 'anna')
    share = await anna.share('film.bin', filmOf(4))
  })

  const publish = (url: string): Promise<Answer> =>
    world.post(`${world.repository.url}/v1/announcements`, announcementOf(anna, share, url, world))

  test('that leads into a machine or its network is not announced: address-refused', async () => {
    for (const url of PRIVATE) await refused(world, () => publish(url), 'address-refused', url)
  })

  test('that is none, or says more than where, is not announced', async () => {
    const none = [
      'ftp://seller.example',
      'https://me:secret@seller.example',
      'https://seller.example/?a',
      'nonsense',
      '',
    ]
    for (const url of none) await refused(world, () => publish(url), 'bad-request', url)
    await refused(world, () => publish(`https://${'a'.repeat(600)}.example`), 'bad-encoding')
    expect((await publish('https://seller.example')).status).toBe(201)
  })

  test('is not called when a repository that lies hands it out all the same', async () => {
    const swarm = { sellers: PRIVATE.map((url) => announcementOf(anna, share, url, world)) }
    await world.host('repository', (request) =>
      request.url.includes('/swarm') ? Response.json(swarm) : world.repository.app.fetch(request),
    )
    const you = await moveIn(world, 'you')
    expect(await download(world, you, share.infoHash, 60_000)).toMatchObject({ state: 'waiting', reason: 'no-sellers' })
    const called = new Set(world.ground.sent.filter(({ from }) => from === 'you').map(({ url }) => url.host))
    expect(called).toEqual(new Set(['repository.example']))
  })

  test.each([301, 302, 303, 307, 308])('does not send an agent on by a redirect: %i', async (status) => {
    anna.tamper = async () => new Response(null, { status, headers: { location: LINK_LOCAL } })
    const you = await moveIn(world, 'you')
    const found = await download(world, you, share.infoHash, 60_000)
    expect(found).toMatchObject({ state: 'waiting', ticks: 0, sellers: [{ status: 'gone' }] })
    const called = new Set(world.ground.sent.filter(({ from }) => from === 'you').map(({ url }) => url.host))
    expect(called).toEqual(new Set(['repository.example', 'anna.example']))
  })

  test('does not send an agent on that settles', async () => {
    anna.tamper = async (request, answer) =>
      request.method === 'POST' && !request.url.includes('/v1/shares') ? Response.redirect(LINK_LOCAL, 307) : answer()
    const you = await moveIn(world, 'you')
    expect(await download(world, you, share.infoHash)).toMatchObject({ state: 'done' })
    expect(world.ground.sent.map(({ url }) => url.host)).not.toContain('169.254.169.254')
  })
})

describe('a name', () => {
  const open: { close(): Promise<unknown> | void }[] = []
  afterEach(async () => {
    for (const each of open.splice(0).toReversed()) await each.close()
  })

  /** Counts who connects, and says nothing. */
  async function trap(): Promise<{ readonly port: number; readonly visits: () => number }> {
    let visits = 0
    const server: Server = createServer((socket) => {
      visits++
      socket.destroy()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    open.push({ close: () => void server.close() })
    return { port: (server.address() as AddressInfo).port, visits: () => visits }
  }

  /** An agent as its entry point builds it, with a resolver that the attacker owns. */
  async function agentWith(resolve: Resolve, allowLoopback: boolean, urlOf: (port: number) => string) {
    const ground = onSockets()
    open.push(ground)
    const world = await openWorldOn(ground)
    const anna = await moveIn(world, 'anna')
    const share = await anna.share('film.bin', filmOf(4))
    const { port, visits } = await trap()
    const swarm = { sellers: [announcementOf(anna, share, urlOf(port), world)] }
    const repository = await world.host('lying repository', (request) =>
      request.url.includes('/swarm') ? Response.json(swarm) : world.repository.app.fetch(request),
    )
    const real = world.environmentOf('you')
    const pin = (url: URL): Promise<string> => pinAddress(url, { resolve, allowLoopback })
    const transport = guardedTransport([world.ledger.url, repository], pin, real.transport)
    const you = await moveIn({ ...world, repository: { ...world.repository, url: repository } }, 'you', {
      environment: { ...real, transport },
      pieceClient: pieceClientNode(pin),
      allowLoopback,
    })
    open.push({ close: () => you.service.stop() })
    const ask = (): Promise<DownloadJson[]> => you.owner.ask('GET', '/v1/downloads')
    await you.owner.ask('POST', '/v1/downloads', { source: share.infoHash })
    await expect.poll(async () => (await ask())[0]?.sellers[0]?.status, { timeout: 20_000 }).toBe('gone')
    return { visits: visits(), detail: (await ask())[0]?.sellers[0]?.detail ?? '' }
  }

  test.each(['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1'])(
    'that resolves to %s is not connected to',
    async (address) => {
      const { visits, detail } = await agentWith(
        async () => [address],
        false,
        (port) => `https://seller.example.org:${port}`,
      )
      expect(visits).toBe(0)
      expect(detail).toContain('seller.example.org is not at an address that may be called')
    },
  )

  test('that resolves to another address each time is connected to where it was judged, or not at all', async () => {
    const answers = ['127.0.0.1', '10.0.0.1', '169.254.169.254']
    let asked = 0
    const { visits } = await agentWith(
      async () => [answers[asked++ % answers.length] as string],
      true,
      (port) => `http://localhost:${port}`,
    )
    expect(asked).toBeGreaterThan(0)
    // Of every three answers one may be called, and is what was connected to.
    expect(visits).toBeLessThanOrEqual(Math.ceil(asked / 3))
  })
})
