import { sha1 } from '#primitives'
import { describe, expect, it } from 'vitest'
import type { PieceClient, PieceRequest, PieceResponse } from '../../agent/download/piece-client.ts'
import type { Run } from '../../agent/download/run.ts'
import type { SellerState } from '../../agent/download/sellers.ts'
import { fetchPiece } from '../../agent/download/way.ts'
import { fatal } from '../../agent/storage/faults.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import type { OfferedWay, Site } from '../../agent/storage/ways.ts'
import type { MetaFile } from '../../protocol/metainfo.ts'
import { openBazaar } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, pieceOf, PIECE_BYTES, type Content } from './bazaar-content.ts'

const PIECES = 20
const SITE: Site = { provider: 's3', region: 'eu-west-1', hosts: [], lends: false }
const COPY: OfferedWay = { way: 'copy', provider: 's3', region: 'eu-west-1', hosts: [] }
const copies = { ways: [COPY], place: (piece: number) => `s3://bucket/film?version=${piece}` }

type CopyFrom = NonNullable<Storage['copyFrom']>

/** A storage at the seller's provider, whose parts are pieces and which copies by itself. */
const lending =
  (content: Content, spoil: (piece: number) => Uint8Array | undefined = () => undefined) =>
  (storage: Storage): Storage => ({
    ...storage,
    partBytes: PIECE_BYTES,
    wholeParts: true,
    site: async () => SITE,
    copyFrom: (async (write, offset, { version }) => {
      const piece = Number(version)
      const bytes = spoil(piece) ?? pieceOf(content, piece)
      await storage.put(write, offset, bytes)
      return { sha1: sha1(bytes) }
    }) satisfies CopyFrom,
  })

describe('a copy inside the provider', () => {
  it('brings every piece for its tick, and none passes the seller', async () => {
    const content = filmOf(PIECES)
    const bazaar = await openBazaar(content)
    const stand = await bazaar.stand('anna', { elsewhere: copies, modes: ['prepaid'] })
    const buyer = await bazaar.buyer({ wrapStorage: lending(content) })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', ticks: PIECES, paid: BigInt(PIECES) })
    expect(stand.sent.size).toBe(0)
    expect(await stand.earned()).toBe(BigInt(PIECES))
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(content.files.get('film.bin'))
  })

  it('whose checksum is not the piece’s is given up: the agent sends the piece for the same tick', async () => {
    const content = filmOf(PIECES)
    const bazaar = await openBazaar(content)
    const stand = await bazaar.stand('anna', { elsewhere: copies, modes: ['prepaid'] })
    const spoil = (): Uint8Array => new Uint8Array(PIECE_BYTES).fill(7)
    const buyer = await bazaar.buyer({ wrapStorage: lending(content, spoil) })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', ticks: PIECES, sellers: [{ status: 'good' }] })
    expect(stand.sent.size).toBe(PIECES)
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(content.files.get('film.bin'))
  })

  it('of a folder leaves a good seller alone, with an empty file after the last piece', async () => {
    const content = contentOf('trip', { a: bytesOf(PIECE_BYTES + 5), 'b-empty': bytesOf(0) }, true)
    const bazaar = await openBazaar(content)
    const stand = await bazaar.stand('anna', { elsewhere: copies, modes: ['prepaid'] })
    const buyer = await bazaar.buyer({ wrapStorage: lending(content) })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', ticks: 2, sellers: [{ status: 'good' }] })
    expect([...stand.sent.keys()]).toEqual([1])
  })

  it('that the provider does not allow is given up: the agent sends the piece for the same tick', async () => {
    const content = filmOf(PIECES)
    const bazaar = await openBazaar(content)
    const stand = await bazaar.stand('anna', { elsewhere: copies, modes: ['prepaid'] })
    const shut = (storage: Storage): Storage => ({
      ...lending(content)(storage),
      copyFrom: () => Promise.reject(fatal('auth', 'The source does not let us in.')),
    })
    const buyer = await bazaar.buyer({ wrapStorage: shut })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', ticks: PIECES, paid: BigInt(PIECES) })
    expect(stand.sent.size).toBe(PIECES)
    expect(await stand.earned()).toBe(BigInt(PIECES))
  })

  it('from a place of another provider, or one that is none, is given up as well', async () => {
    for (const place of [() => 'https://elsewhere.example/', () => '']) {
      const content = filmOf(3)
      const bazaar = await openBazaar(content)
      const elsewhere = { ...copies, place }
      const stand = await bazaar.stand('anna', { elsewhere, modes: ['prepaid'] })
      const buyer = await bazaar.buyer({ wrapStorage: lending(content) })
      expect(await buyer.fetch()).toMatchObject({ state: 'done', ticks: 3 })
      expect(stand.sent.size).toBe(3)
    }
  })
})

describe('a link', () => {
  const PIECE = 4 * 1024 ** 2
  const LINK: OfferedWay = { way: 'link', provider: 's3', hosts: ['s3.example'] }

  /** Asks for piece 1 of a large file; what each URL answers is the test's. */
  async function fetchBy(location: string, answer: (request: PieceRequest) => Partial<PieceResponse>) {
    const { meta: small } = filmOf(1)
    const [file] = small.files as [MetaFile]
    const meta = { ...small, pieceLength: PIECE, pieces: 2, files: [{ ...file, length: 2 * PIECE }] }
    const asked: PieceRequest[] = []
    const pieceClient: PieceClient = {
      async get(request) {
        asked.push(request)
        const isSeller = request.url === 'https://seller.example/piece'
        const headers = new Headers(isSeller && 'prefer' in request.headers ? { location } : {})
        const status = isSeller && 'prefer' in request.headers ? 307 : 200
        return { status, headers, length: 0, ...(isSeller ? {} : answer(request)) }
      },
      post: () => Promise.reject(new Error('nothing is said')),
    }
    const run = { meta, pieceClient, sink: { site: undefined, canCopy: () => false } } as unknown as Run
    const seller = { offer: { ways: [LINK] } } as unknown as SellerState
    const request: PieceRequest = {
      url: 'https://seller.example/piece',
      headers: { 'payment-signature': 'a tick' },
      into: new Uint8Array(PIECE),
      signal: new AbortController().signal,
    }
    const fetched = () => fetchPiece(run, seller, 1, request)
    const outcome = await fetched().catch((error: unknown) => error)
    return { outcome, asked, fetched }
  }

  it('is followed with the range of the piece, and without the payment', async () => {
    const { outcome, asked } = await fetchBy('https://s3.example/file?signed', () => ({ status: 206, length: PIECE }))
    expect(outcome).toMatchObject({ status: 200 })
    expect(asked[1]).toMatchObject({ url: 'https://s3.example/file?signed', range: { offset: PIECE, length: PIECE } })
    expect(asked[1]?.headers).toEqual({})
  })

  it.each([
    'https://s3.example.evil.example/file',
    'https://169.254.169.254/latest/meta-data',
    'https://s3.example:8443/file',
    'file:///etc/passwd',
    '/file',
    '',
  ])('to %j, which the seller did not announce, is not followed; the piece is asked for again without', async (to) => {
    const { outcome, asked, fetched } = await fetchBy(to, () => ({ status: 206 }))
    expect(outcome).toMatchObject({ code: 'peer-failed' })
    expect(asked.map(({ url }) => url)).toEqual(['https://seller.example/piece'])
    expect(await fetched()).toMatchObject({ status: 200 })
    expect(asked[1]?.headers).toEqual({ 'payment-signature': 'a tick' })
  })

  it('that answers with anything but the range is given up', async () => {
    for (const status of [200, 301, 403, 416, 503]) {
      const { outcome, fetched } = await fetchBy('https://s3.example/file', () => ({ status }))
      expect(outcome).toMatchObject({ code: 'peer-failed' })
      expect(await fetched()).toMatchObject({ status: 200 })
    }
  })
})
