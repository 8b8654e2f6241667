/** The examples of the docs by themselves: read off the page as a reader would, they decode, verify and fit together. */
import { sha256 } from '#primitives'
import { expect, test } from 'vitest'
import { equal, fromBase64url, fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import { parseDeclaration } from '../../protocol/declaration.ts'
import { parseDelegation } from '../../protocol/delegation.ts'
import { decode, encode } from '../../protocol/encoding.ts'
import { decodeEntry, entryHash } from '../../protocol/entry.ts'
import { verifyRequest } from '../../protocol/http-signature.ts'
import { applyOperation, parseOperation, speaksFor } from '../../protocol/identity.ts'
import { parseMagnet } from '../../protocol/magnet.ts'
import { rootFromInclusion } from '../../protocol/merkle.ts'
import { parseTorrent, pieceHash } from '../../protocol/metainfo.ts'
import { tickFromJson, tickRoot, verifyLink, verifyNext } from '../../protocol/payword.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { parseRedemption } from '../../protocol/settlement.ts'
import { envelopeFromJson, objectId, verifyEnvelope, type Envelope, type Kind } from '../../protocol/signed.ts'
import {
  bookFromJson,
  checkBook,
  checkProof,
  proofFromJson,
  type BookJson,
  type VouchProofJson,
} from '../../protocol/vouch.ts'
import {
  decodePayment,
  decodePaymentRequired,
  decodePaymentResponse,
  parseOffer,
  transactionOf,
} from '../../protocol/x402.ts'
import { evaluate } from '../../protocol/trust.ts'
import { bytesOf } from './cast.ts'
import { readNotation } from './notation.ts'
import { readPage } from './page.ts'
import { answerOf, exampleNames, exchangeOf, jsonOf, textOf } from './reader.ts'

const envelopeOf = (name: string): Envelope => envelopeFromJson(jsonOf(`${name}.json`))

const KINDS: Readonly<Record<string, Kind>> = {
  genesis: 'identity',
  rotation: 'identity',
  delegation: 'delegation',
  declaration: 'declaration',
  commitment: 'commitment',
  claim: 'claim',
  'sealed-claim': 'claim',
  'sealed-redemption': 'redemption',
  label: 'label',
  'false-label': 'label',
  dispute: 'dispute',
  redemption: 'redemption',
  release: 'release',
  'release-rest': 'release',
  transfer: 'transfer',
  signoff: 'signoff',
  receipt: 'receipt',
  announcement: 'announcement',
  book: 'book',
  edition: 'edition',
  session: 'session',
  usage: 'usage',
  notice: 'notice',
  membership: 'membership',
  price: 'price',
  peer: 'peer',
  buy: 'buy',
  sell: 'sell',
  lock: 'lock',
  mint: 'mint',
  refund: 'refund',
}

test.each(Object.entries(KINDS))('%s is shown with its body, its id and a signature that verifies', (name, kind) => {
  const envelope = envelopeOf(name)
  expect(toHex(readNotation(textOf(`${name}.body`)))).toBe(toHex(envelope.body))
  expect(toHex(objectId(kind, envelope.body))).toBe(textOf(`${name}.id`))
  verifyEnvelope(kind, envelope)
})

test('every signed object that is shown is among them', () => {
  const named = exampleNames.filter((name) => name.endsWith('.id')).map((name) => name.slice(0, -'.id'.length))
  expect(named.toSorted()).toEqual(Object.keys(KINDS).toSorted())
})

const bencoded = exampleNames.filter((name) => /\.body$|^entry\.|^book\.vouch$/.test(name))

test.each(bencoded)('%s is canonical', (name) => {
  const bytes = readNotation(textOf(name))
  expect(encode(decode(bytes))).toEqual(bytes)
})

const MEMBERS: Readonly<Record<string, Kind>> = {
  identity: 'identity',
  operations: 'identity',
  identities: 'identity',
  head: 'book',
  issuer: 'sell',
  operation: 'identity',
}

/** Every envelope in a document, with its kind by the member it is in. */
function envelopesIn(value: unknown, member = ''): (readonly [Kind, Envelope])[] {
  if (typeof value !== 'object' || value === null) return []
  if (Array.isArray(value)) return value.flatMap((item) => envelopesIn(item, member))
  if ('body' in value && 'signature' in value) return [[MEMBERS[member] ?? (member as Kind), envelopeFromJson(value)]]
  return Object.entries(value).flatMap(([name, inner]) => envelopesIn(inner, name))
}

const exchanges = exampleNames.filter((name) => textOf(name).includes('HTTP/1.1'))
const signedIn = (name: string): (readonly [Kind, Envelope])[] =>
  exchangeOf(name)
    .filter(({ body }) => /^[{[]/.test(body))
    .flatMap(({ body }) => envelopesIn(JSON.parse(body)))

test.each(exchanges)('every envelope in %s verifies', (name) => {
  for (const [kind, envelope] of signedIn(name)) verifyEnvelope(kind, envelope)
})

test('exchanges hold envelopes of most kinds', () => {
  expect(new Set(exchanges.flatMap(signedIn).map(([kind]) => kind)).size).toBeGreaterThan(10)
})

test('the payer’s identity, its delegation and its declaration belong together', () => {
  const first = parseOperation(envelopeOf('genesis'))
  const state = applyOperation(undefined, envelopeOf('genesis'), first.created)
  const delegation = parseDelegation(envelopeOf('delegation'))
  const declaration = parseDeclaration(envelopeOf('declaration'))
  expect(speaksFor(state, delegation.key)).toBe(true)
  expect([delegation.owner, declaration.payer]).toEqual([state.id, state.id])
  expect(declaration.key).toEqual(delegation.agent)
  expect(applyOperation(state, envelopeOf('rotation'), first.created + 60_000).seq).toBe(1)
})

test('the ticks lead to the declared chain, one after the other, and the redemption with them', () => {
  const shape = jsonOf<{ seed: string; units: number; segment: number; tickRoot: string }>('chain.shape')
  const declaration = parseDeclaration(envelopeOf('declaration'))
  const lane = parseCommitment(envelopeOf('commitment'))
  expect(toHex(tickRoot(fromHex(shape.seed), shape))).toBe(shape.tickRoot)
  expect(toHex(declaration.tickRoot)).toBe(shape.tickRoot)
  const [first, second, fifth] = ['tick.first', 'tick.second', 'tick.fifth'].map((name) => tickFromJson(jsonOf(name)))
  if (!first?.proof || !second || !fifth?.proof) throw new Error('a tick without its proof')
  verifyLink(declaration.tickRoot, declaration, lane, first.unit, first.link, first.proof)
  verifyNext(declaration, first, second)
  verifyLink(declaration.tickRoot, declaration, lane, fifth.unit, fifth.link, fifth.proof)
  const { unit, link, proof } = parseRedemption(envelopeOf('redemption'))
  verifyLink(declaration.tickRoot, declaration, lane, unit, link, proof)
  const links = jsonOf<{ link: string }[]>('chain.links').map(({ link: hex }) => hex)
  expect([first, second, fifth].map(({ unit: u, link: l }) => links.indexOf(toHex(l)) - u)).toEqual([3, 3, 3])
})

test('the torrent is the one that its names name, and its pieces have these hashes', () => {
  const meta = parseTorrent(readNotation(textOf('torrent.folder')))
  const names = jsonOf<{ infoHash: string; infoHashV1: string; magnet: string }>('torrent.names')
  expect([toHex(meta.infoHash), toHex(meta.infoHashV1)]).toEqual([names.infoHash, names.infoHashV1])
  expect(parseMagnet(names.magnet)).toEqual({ infoHash: meta.infoHash, infoHashV1: meta.infoHashV1, name: meta.name })
  const pieces = jsonOf<{ index: number; hash: string }[]>('torrent.pieces')
  expect(pieces.map(({ index }) => toHex(pieceHash(meta, index)))).toEqual(pieces.map(({ hash }) => hash))
  const film = Uint8Array.from({ length: 160_000 }, (_, i) => i % 251)
  expect(jsonOf<{ sha256: string }>('torrent.film').sha256).toBe(toHex(sha256(film)))
})

test('the book is the one of its head, and the vouch is in it', () => {
  const head = checkBook(bookFromJson(jsonOf<BookJson>('book.whole')))
  const proof = proofFromJson(jsonOf<VouchProofJson>('book.proof'))
  expect(checkProof(proof)).toEqual(head)
  expect(toHex(head.id)).toBe(textOf('book.id'))
  expect(proof.index).toBe(1)
})

test('the receipt is the ledger’s and the entry with its proof leads to the checkpoint', () => {
  const info = answerOf<{ id: string; key: string; vkey: string; origin: string }>('ledger.info')
  expect(toHex(sha256(fromHex(info.key)))).toBe(info.id)
  const receipt = parseReceipt(envelopeOf('receipt'))
  expect([toHex(receipt.ledger), toHex(receipt.key)]).toEqual([info.id, info.key])
  const note = openNote(`${exchangeOf('log.checkpoint')[1].body}\n`, [parseVerifierKey(info.vkey)])
  const { origin, rootHash, size } = parseCheckpoint(note.text)
  const proven = answerOf<{ index: number; entry: string; hash: string; size: number; proof: string[] }>('log.entry')
  const entry = fromBase64url(proven.entry)
  const root = rootFromInclusion(
    proven.index,
    size,
    entryHash(entry),
    proven.proof.map((hash) => fromHex(hash)),
  )
  expect([origin, proven.size, proven.hash]).toEqual([info.origin, size, toHex(entryHash(entry))])
  expect(root && equal(root, rootHash)).toBe(true)
  expect(toHex(readNotation(textOf('entry.redeem')))).toBe(toHex(entry))
  expect(['policy', 'redeem', 'state'].map((kind) => decodeEntry(readNotation(textOf(`entry.${kind}`))).kind)).toEqual([
    'policy',
    'redeem',
    'state',
  ])
})

test('the signed request verifies, for that owner and no other', async () => {
  const [{ start, headers, body }] = exchangeOf('owner.share')
  const [method = '', path = ''] = start.split(' ')
  const compact = JSON.stringify(JSON.parse(body))
  const request = () => new Request(`https://${headers.get('host')}${path}`, { method, headers, body: compact })
  const { id, operations } = answerOf<{ id: string; operations: unknown[] }>('agent.profile')
  const options = { authorities: ['seller.example'], audience: id, nowMs: 1_800_000_060_000 }
  const { key } = await verifyRequest(request(), options)
  const state = applyOperation(undefined, envelopeFromJson(operations[0]), options.nowMs)
  expect([toHex(state.id), speaksFor(state, key)]).toEqual([id, true])
  await expect(
    verifyRequest(request(), { ...options, audience: toHex(sha256(utf8('another'))) }),
  ).rejects.toMatchObject({ code: 'bad-signature' })
})

test('the payment headers say what is shown beside them', () => {
  const [, unpaid] = exchangeOf('piece.unpaid')
  const required = decodePaymentRequired(unpaid.headers.get('payment-required') ?? '')
  expect(required).toEqual(jsonOf('piece.required'))
  const [request, answer] = exchangeOf('piece.first')
  const payment = decodePayment(request.headers.get('payment-signature') ?? '')
  expect(payment).toEqual(jsonOf('piece.first-payment'))
  expect(required.accepts).toContainEqual(payment.accepted)
  const declaration = parseDeclaration(envelopeOf('declaration'))
  const offer = parseOffer(payment.accepted)
  expect([offer.content, offer.price]).toEqual([declaration.content, declaration.unitPrice] satisfies [Bytes, bigint])
  const response = decodePaymentResponse(answer.headers.get('payment-response') ?? '')
  expect(response).toEqual(jsonOf('piece.first-response'))
  expect(response.transaction).toBe(transactionOf(fromHex(payment.payload.lane), 1))
})

test('the example of trust.md is what an evaluation gives', () => {
  const [verifier, friend, stranger] = [bytesOf(1), bytesOf(2), bytesOf(3)]
  const verdicts = evaluate(verifier, [
    { issuer: verifier, subject: friend, depth: 2, credit: 32, expires: 1 },
    { issuer: friend, subject: stranger, depth: 4, credit: 100, expires: 1 },
  ])
  const rows = readPage('docs/protocol/trust.md').text.matchAll(
    /^\| (?:friend|stranger) \| .* = (\d+) \| .* = (\d+) \|$/gm,
  )
  const stated = Array.from(rows, ([, depth, credit]) => ({ depth: Number(depth), credit: Number(credit) }))
  expect([friend, stranger].map((id) => verdicts.get(toHex(id)))).toMatchObject(stated)
  expect(stated).toHaveLength(2)
})
