/** What a second implementation finds that goes by the pages alone. */
import { expect, test } from 'vitest'
import ledger from '../vectors/ledger.json' with { type: 'json' }
import { readNotation } from './notation.ts'
import { answerOf, exchangeOf, jsonOf, textOf } from './reader.ts'
import * as second from './second.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Buffer => Buffer.from(text, 'hex')
const url64 = (text: string): Buffer => Buffer.from(text, 'base64url')

interface Envelope {
  readonly body: string
  readonly key: string
  readonly signature: string
}
const OBJECTS = [
  ['genesis', 'identity'],
  ['delegation', 'delegation'],
  ['declaration', 'declaration'],
  ['commitment', 'commitment'],
  ['redemption', 'redemption'],
  ['receipt', 'receipt'],
  ['book', 'book'],
] as const

test.each(OBJECTS)('makes the id of a %s and verifies its signature', (name, kind) => {
  const { body, key, signature } = jsonOf<Envelope>(`${name}.json`)
  const message = second.message(kind, url64(body))
  expect(hex(second.sha256(message))).toBe(textOf(`${name}.id`))
  expect(second.isSigned(message, url64(key), url64(signature))).toBe(true)
})

const chain = jsonOf<{ seed: string; units: number; segment: number; tickRoot: string }>('chain.shape')

test('makes every link of the chain, and its tick root', () => {
  const links = jsonOf<{ segment: number; place: number; link: string }[]>('chain.links')
  const made = links.map(({ segment, place }) => hex(second.linkOf(bytes(chain.seed), segment, place, chain.segment)))
  expect(made).toEqual(links.map(({ link }) => link))
  const anchors = [0, 1, 2].map((segment) =>
    second.anchorOf(second.linkOf(bytes(chain.seed), segment, 1, chain.segment), 1),
  )
  expect(hex(second.treeRoot(anchors.map(second.leaf)))).toBe(chain.tickRoot)
})

test('checks a tick alone, and the one after it by one hash', () => {
  const [first, next] = [
    jsonOf<{ link: string; proof: string[] }>('tick.first'),
    jsonOf<{ link: string }>('tick.second'),
  ]
  const anchor = second.anchorOf(url64(first.link), 1)
  expect(hex(second.rootByProof(1, 3, second.leaf(anchor), first.proof.map(url64)))).toBe(chain.tickRoot)
  expect(hex(second.sha256(url64(next.link)))).toBe(hex(url64(first.link)))
})

test('names the torrent and hashes its pieces', () => {
  const text = textOf('torrent.folder')
  const info = readNotation(
    text.slice(text.indexOf('4:info ') + '4:info '.length, text.indexOf('\n  12:"piece layers"')),
  )
  const names = jsonOf<{ infoHash: string; infoHashV1: string }>('torrent.names')
  expect([hex(second.sha256(info)), hex(second.sha1(info))]).toEqual([names.infoHash, names.infoHashV1])
  const film = Uint8Array.from({ length: 20_000 }, (_, i) => i % 251)
  const pieces = jsonOf<{ file: string; offset: number; length: number; hash: string }[]>('torrent.pieces')
  for (const { offset, length, hash } of pieces)
    expect(hex(second.pieceHash(film.subarray(offset, offset + length), 1))).toBe(hash)
  const [one, two] = pieces.map(({ hash }) => bytes(hash))
  const root = second.sha256(one as Buffer, two as Buffer)
  expect(text).toContain(`11:"pieces root" 32:<${hex(root)}>`)
})

test('hashes pieces of several blocks', () => {
  const film = Uint8Array.from({ length: 160_000 }, (_, i) => i % 251)
  const { hashes } = answerOf<{ hashes: string[] }>('repository.hashes')
  expect([0, 1, 2].map((i) => hex(second.pieceHash(film.subarray(i * 65_536, (i + 1) * 65_536), 4)))).toEqual(hashes)
})

test('proves a vouch and an entry, and opens the checkpoint', () => {
  const proof = jsonOf<{ vouch: string; index: number; path: string[] }>('book.proof')
  const root = second.rootByProof(proof.index, 2, second.leaf(url64(proof.vouch)), proof.path.map(url64))
  expect(textOf('book.body')).toContain(`4:root 32:<${hex(root)}>`)
  const [, checkpoint] = exchangeOf('log.checkpoint')
  const [origin = '', size = '', rootHash = '', , line = ''] = checkpoint.body.split('\n')
  const proven = answerOf<{ index: number; entry: string; proof: string[] }>('log.entry')
  const top = second.rootByProof(proven.index, Number(size), second.leaf(url64(proven.entry)), proven.proof.map(bytes))
  expect(Buffer.from(top).toString('base64')).toBe(rootHash)
  const key = bytes(answerOf<{ key: string }>('ledger.info').key)
  const signature = Buffer.from(line.split(' ')[2] ?? '', 'base64')
  expect(signature.subarray(0, 4).toString('hex')).toBe(second.noteKeyId(origin, key))
  expect(second.isSigned(Buffer.from(`${origin}\n${size}\n${rootHash}\n`), key, signature.subarray(4))).toBe(true)
})

test('verifies the owner’s request', () => {
  const [{ start, headers }] = exchangeOf('owner.share')
  const [method, path] = start.split(' ')
  const input = /^raincheck=(.*)$/.exec(headers.get('signature-input') ?? '')?.[1] ?? ''
  const base = [
    `"@method": ${method}`,
    `"@authority": ${headers.get('host')}`,
    `"@path": ${path}`,
    '"@query": ?',
    `"content-digest": ${headers.get('content-digest')}`,
    `"@signature-params": ${input}`,
  ].join('\n')
  const key = bytes(/keyid="([0-9a-f]+)"/.exec(input)?.[1] ?? '')
  const signature = Buffer.from(/^raincheck=:(.*):$/.exec(headers.get('signature') ?? '')?.[1] ?? '', 'base64')
  expect(second.isSigned(Buffer.from(base), key, signature)).toBe(true)
})

test('comes to the state root of the vectors', () => {
  const items = ledger.items.map(({ pk, sk, body }) => ({ pk, sk, body: bytes(body) }))
  expect(hex(second.stateRoot(items))).toBe(ledger.entries.at(-1)?.after.stateRoot)
})
