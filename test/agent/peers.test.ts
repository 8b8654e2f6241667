import { describe, expect, it } from 'vitest'
import type { AgentContext } from '../../agent/context.ts'
import { createPeers, type Peer } from '../../agent/download/peers.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { announce, parseAnnouncement, type AnnouncementTerms } from '../../protocol/announcement.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toBase64url, toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, seal, type Envelope, type Signer } from '../../protocol/signed.ts'
import { delegationOf, NOW, person, type Person } from '../repository/people.ts'
import { filmOf } from './bazaar-content.ts'

const HOUR_MS = 3_600_000
const content = filmOf(10)
const [buyer, anna, berta] = [person(1), person(2), person(3)]

interface Said {
  readonly announcement: Envelope
  readonly delegation?: Envelope
}

const announced = (by: Person, changes: Partial<AnnouncementTerms> = {}, signer: Signer = by.agent): Envelope =>
  announce(
    {
      agent: by.id,
      infoHash: content.meta.infoHash,
      issued: NOW,
      expires: NOW + HOUR_MS,
      modes: ['prepaid'],
      price: 1n,
      public: false,
      urls: ['https://anna.example/'],
      ...changes,
    },
    signer,
  )
const said = (changes: Partial<AnnouncementTerms> = {}): Said => ({
  announcement: announced(anna, changes),
  delegation: delegationOf(anna, ['announce']),
})
const offer = {
  infoHash: content.infoHash,
  pieceLength: content.meta.pieceLength,
  pieces: 10,
  bitfield: toBase64url(Uint8Array.of(0xff, 0xc0)),
  price: '3',
  public: false,
}

/** Peers of `buyer`, of a repository that says this and of agents that answer that. */
function peersOf(
  sellers: readonly Said[],
  answers: Readonly<Record<string, unknown>> = {},
  allowLoopback = false,
  named: readonly Said[] = [],
) {
  const swarm = sellers.map(({ announcement, delegation }) => ({
    announcement: envelopeToJson(announcement),
    ...(delegation && { delegation: envelopeToJson(delegation) }),
  }))
  const people = new Map([buyer, anna, berta].map(({ id, operations }) => [toHex(id), operations.map(envelopeToJson)]))
  const transport = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url)
    if (pathname.endsWith('/swarm')) return Response.json({ sellers: swarm })
    if (pathname.startsWith('/v1/identities/')) {
      return Response.json({ operations: people.get(pathname.split('/').at(-1) as string) ?? [] })
    }
    if (pathname === '/v1/chains') return Response.json({ identities: [], chains: [] })
    const answer = answers[host]
    if (answer === undefined) throw new TypeError('connection refused')
    return Response.json(answer)
  }
  const clock = { now: () => NOW, sleep: () => new Promise<never>(() => undefined) }
  const environment = { clock, random: { bytes: (length: number) => new Uint8Array(length) }, transport }
  const repository = createRepositoryClient({ environment, url: 'https://repository.example' })
  const store = openSqlite(':memory:')
  const context = { environment, store, repository, owner: buyer.id, allowLoopback }
  const torrent = () => Promise.reject(new Problem('not-found', 'No broker knows the content.'))
  const brokers = { swarm: async () => named, torrent }
  return createPeers(context as unknown as AgentContext, { brokers })
}

const found = (sellers: readonly Said[], allowLoopback = false) =>
  peersOf(sellers, {}, allowLoopback).swarm(content.meta.infoHash)
const peer: Peer = { id: toHex(anna.id), urls: ['https://anna.example', 'https://second.example'], brokered: false }

describe('peers', () => {
  it('that a broker names are met beside the others, not in their place; what does not hold is left out', async () => {
    const by = { announcement: announced(berta), delegation: delegationOf(berta, ['announce']) }
    const garbage = { announcement: seal('announcement', { no: 1 }, berta.agent) }
    const peers = peersOf([said()], {}, false, [garbage, by])
    const { infoHash } = content.meta
    await peers.swarm(infoHash)
    expect(await peers.brokered(infoHash)).toMatchObject([{ id: toHex(berta.id), brokered: true }])
    await peers.brokered(infoHash)
    const met = await peers.met(toHex(infoHash))
    expect(met.map(({ announcement }) => toHex(parseAnnouncement(announcement).agent))).toEqual(
      [berta, anna].map(({ id }) => toHex(id)),
    )
  })

  it('are those whose announcement the owner or a delegated agent signed', async () => {
    expect(await found([said()])).toEqual([{ id: toHex(anna.id), urls: ['https://anna.example'], brokered: false }])
    expect(await found([{ announcement: announced(anna, {}, anna.owner) }])).toHaveLength(1)
  })

  it.each<[string, Said]>([
    ['an announcement by a stranger', { announcement: announced(anna, {}, berta.agent) }],
    ['an agent without a delegation', { announcement: announced(anna) }],
    [
      'a delegation that does not allow to announce',
      { announcement: announced(anna), delegation: delegationOf(anna, ['spend']) },
    ],
    ['a delegation by somebody else', { announcement: announced(anna), delegation: delegationOf(berta, ['announce']) }],
    [
      'a delegation that has expired',
      { announcement: announced(anna), delegation: delegationOf(anna, ['announce'], { expires: NOW }) },
    ],
    ['an announcement that has expired', said({ issued: NOW - HOUR_MS, expires: NOW })],
    ['an announcement that withdraws', said({ expires: NOW, issued: NOW, urls: [] })],
    ['an announcement of other content', said({ infoHash: buyer.id })],
    ['our own', { announcement: announced(buyer), delegation: delegationOf(buyer, ['announce']) }],
    [
      'somebody nobody knows',
      { announcement: announced(person(9)), delegation: delegationOf(person(9), ['announce']) },
    ],
  ])('are not found in %s, whatever else is said', async (_, wrong) => {
    expect(await found([wrong, said()])).toHaveLength(1)
    expect(await found([wrong])).toEqual([])
  })

  it('are asked at public https addresses only, unless the operator allows loopback', async () => {
    const urls = [
      'http://anna.example',
      'https://127.0.0.1:8402',
      'http://localhost:1',
      'https://10.0.0.1',
      'https://169.254.169.254',
      'https://[::1]',
      'https://anna.example',
    ]
    expect(await found([said({ urls })])).toMatchObject([{ urls: ['https://anna.example'] }])
    const [loopback] = await found([said({ urls })], true)
    expect(loopback?.urls).toEqual([
      'https://127.0.0.1:8402',
      'http://localhost:1',
      'https://[::1]',
      'https://anna.example',
    ])
    expect(await found([said({ urls: ['https://192.168.1.1'] })])).toEqual([])
  })

  it('say what they have and charge, at the first address that answers', async () => {
    const peers = peersOf([], { 'second.example': offer })
    expect(await peers.offer(peer, content.meta)).toEqual({
      url: 'https://second.example',
      bitfield: Uint8Array.of(0xff, 0xc0),
      price: 3n,
      public: false,
      accepts: [],
      ways: [],
    })
  })

  it.each<[string, unknown]>([
    ['nonsense', 'hello'],
    ['other content', { ...offer, infoHash: toHex(buyer.id) }],
    ['other pieces', { ...offer, pieces: 11 }],
    ['a bitfield of another length', { ...offer, bitfield: 'AA' }],
    ['a bitfield with spare bits', { ...offer, bitfield: toBase64url(Uint8Array.of(0xff, 0xff)) }],
    ['a price with a fraction', { ...offer, price: '1.5' }],
    ['a negative price', { ...offer, price: '-1' }],
  ])('are refused when they answer with %s', async (_, answer) => {
    const peers = peersOf([], { 'anna.example': answer, 'second.example': answer })
    await expect(peers.offer(peer, content.meta)).rejects.toMatchObject({ name: 'Problem' })
  })

  it('are refused when they answer with more than they can have to say: many of them are asked at once', async () => {
    const padded = (bytes: number) => ({ 'anna.example': { ...offer, more: 'x'.repeat(bytes) } })
    await expect(peersOf([], padded(limits.peerReplyBytes)).offer(peer, content.meta)).rejects.toMatchObject({
      code: 'peer-failed',
    })
    const most = { ...offer, bitfield: toBase64url(new Uint8Array(limits.pieces / 8)), pieces: limits.pieces }
    const huge = { ...content.meta, pieces: limits.pieces }
    expect(await peersOf([], { 'anna.example': most }).offer(peer, huge)).toMatchObject({ price: 3n })
  })

  it('give no credit unless a chain of vouches leads to us', async () => {
    expect(await peersOf([]).creditFrom(peer)).toBe(0)
  })
})
