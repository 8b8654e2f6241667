/** Examples that need no service: signed objects, the tick chain, torrents, encodings. */
import { sha256 } from '#primitives'
import { announce } from '../../protocol/announcement.ts'
import { publishEdition } from '../../protocol/edition.ts'
import { notify } from '../../protocol/notice.ts'
import { toHex } from '../../protocol/bytes.ts'
import { commit } from '../../protocol/commitment.ts'
import { dispute, evidenceOf } from '../../protocol/dispute.ts'
import { applyOperation, rotate } from '../../protocol/identity.ts'
import { label } from '../../protocol/label.ts'
import { formatMagnet } from '../../protocol/magnet.ts'
import { locatePiece, pieceHash, type Metainfo } from '../../protocol/metainfo.ts'
import { tickToJson, type Tick } from '../../protocol/payword.ts'
import { keyOf, partsOf, pieceShape, rootsOf, sealedBytes, sealPiece } from '../../protocol/sealed.ts'
import * as settlement from '../../protocol/settlement.ts'
import { formatSession, grantSession } from '../../protocol/session.ts'
import { objectId, signerFrom } from '../../protocol/signed.ts'
import { stateUsage } from '../../protocol/usage.ts'
import { bookToJson, encodeVouch, proofToJson, proveVouch, writeBook } from '../../protocol/vouch.ts'
import * as cast from './cast.ts'
import { bencode, json, signed, text, type Examples } from './example.ts'
import { writeNotation } from './notation.ts'

const { payer, payee, prepaidId, declarationId, chain, START_MS } = cast

export const payerState = applyOperation(undefined, payer.operations[0], START_MS)
/** The everyday key is replaced; the recovery key stays above it. */
export const rotation = rotate(
  payerState,
  [cast.recovery.key, signerFrom(cast.bytesOf(8)).key],
  START_MS + 60_000,
  payer.owner,
)

/** @param unit of the prepaid lane */
export const prepaidTick = (unit: number): Tick => tickOf(prepaidId, cast.prepaidLane.first, unit)
/** @param unit of the lane on credit */
export const creditTick = (unit: number): Tick => tickOf(cast.onCreditId, cast.creditLane.first, unit)

function tickOf(lane: Tick['lane'], first: number, unit: number): Tick {
  const { segment } = cast.SHAPE
  const opens = (unit - 1) % segment === 0
  const proof = chain.proof(first + Math.floor((unit - 1) / segment))
  return { lane, unit, link: chain.link(first, unit), ...(opens && { proof }) }
}

const proofOf = (unit: number) => chain.proof(cast.prepaidLane.first + Math.floor((unit - 1) / cast.SHAPE.segment))

export const claim = settlement.claim({ commitment: prepaidId, payee: payee.id }, payee.agent)
export const redemption = settlement.redeem(
  { lane: prepaidId, link: chain.link(1, 2), payee: payee.id, proof: proofOf(2), unit: 2 },
  payee.agent,
)
export const releaseLane = settlement.release(
  { by: payee.id, declaration: declarationId, lane: prepaidId },
  payee.agent,
)
export const releaseLaneByPayer = settlement.release(
  { by: payer.id, declaration: declarationId, lane: prepaidId },
  payer.agent,
)
export const releaseRest = settlement.release({ by: payer.id, declaration: declarationId }, payer.agent)
export const transfer = settlement.transfer(
  { amount: 25n, from: payer.id, ledger: cast.ledgerId, nonce: cast.bytesOf(0xcc, 16), to: payee.id },
  payer.owner,
)
export const signoff = settlement.signOff({ lane: prepaidId, unit: 6 }, payer.agent)

/** The same run of segments as a sealed lane, its keys, and the smallest piece of the folder as it is sent on one. */
const sealedLane = { ...cast.prepaidLane, mode: 'sealed' as const }
export const sealedCommitment = commit(sealedLane, payer.agent)
const sealedId = objectId('commitment', sealedCommitment.body)
const keyAt = (unit: number) => keyOf(cast.bytesOf(0xee), sealedLane.cap, unit)
export const sealedClaim = settlement.claim(
  {
    commitment: sealedId,
    payee: payee.id,
    sealed: { anchor: keyAt(0), bond: settlement.leastBond(sealedLane, cast.PRICE), cipher: 'aes-256-ctr' },
  },
  payee.agent,
)
export const sealedRedemption = settlement.redeem(
  { lane: sealedId, link: chain.link(1, 2), payee: payee.id, proof: proofOf(2), unit: 2, unitKey: keyAt(2) },
  payee.agent,
)
const sealedShape = pieceShape(cast.trip.meta, 2)
const sealedBody = bodyOf(cast.FILM.slice(0, sealedShape.length))
const sealedTerms = { ...sealedShape, lane: sealedId, unit: 2 }
export const sealedLabel = label({ ...sealedTerms, ...sealPiece(sealedBody, sealedShape, keyAt(2)) }, payee.agent)
/** Sealed as if it were that piece, and it is not. */
const falseBody = falsified()
export const falseLabel = label({ ...sealedTerms, ...rootsOf(falseBody, sealedShape) }, payee.agent)
const falseId = objectId('label', falseLabel.body)
export const accusation = dispute(
  { ...evidenceOf(falseBody, sealedShape, 0), by: payer.id, label: falseId, unitKey: keyAt(2) },
  payer.agent,
)

function bodyOf(piece: Uint8Array): Uint8Array {
  const body = new Uint8Array(sealedBytes(sealedShape))
  partsOf(body, sealedShape).bytes.set(piece)
  return body
}

function falsified(): Uint8Array {
  const body = bodyOf(new Uint8Array(sealedShape.length))
  sealPiece(body, sealedShape, keyAt(2))
  partsOf(body, sealedShape).leaves.set(partsOf(sealedBody, sealedShape).leaves)
  return body
}

const sealedExamples: Examples = {
  ...signed('sealed-claim', 'claim', sealedClaim),
  ...signed('sealed-redemption', 'redemption', sealedRedemption),
  ...signed('label', 'label', sealedLabel),
  'sealed.keys': json(Array.from({ length: sealedLane.cap + 1 }, (_, unit) => ({ unit, key: toHex(keyAt(unit)) }))),
  'sealed.piece': json({ ...sealedShape, unit: 2, sealed: toHex(sealedBody) }),
  ...signed('false-label', 'label', falseLabel),
  ...signed('dispute', 'dispute', accusation),
}

export const announcement = announce(
  {
    agent: payee.id,
    expires: START_MS + 3_600_000,
    infoHash: cast.film.meta.infoHash,
    issued: START_MS,
    modes: ['credit', 'prepaid', 'sealed'],
    price: cast.PRICE,
    public: false,
    urls: ['https://seller.example'],
  },
  payee.agent,
)

const vouchFor = (subject: typeof payer.id, depth: number, credit: number, salt: number) => ({
  subject,
  depth,
  credit,
  scope: '',
  notBefore: START_MS,
  expires: START_MS + 90 * cast.DAY_MS,
  salt: cast.bytesOf(salt, 16),
})
export const book = writeBook(
  { issuer: payee.id, seq: 0, issued: START_MS, expires: START_MS + 7 * cast.DAY_MS },
  [vouchFor(payer.id, 0, 16, 0xd1), vouchFor(cast.friend.id, 2, 32, 0xd2)],
  payee.owner,
)
const vouchIndex = book.vouches.findIndex(({ depth }) => depth === 0)

export const notice = notify(
  { by: payee.id, issued: START_MS, subject: payer.id, times: 1, to: cast.friend.id },
  payee.agent,
)

export const edition = publishEdition(
  {
    before: cast.trip.meta.infoHash,
    by: payee.id,
    infoHash: cast.film.meta.infoHash,
    issued: START_MS,
    name: 'films',
    prev: cast.bytesOf(0xe1),
    seq: 3,
  },
  payee.agent,
)

export const usage = stateUsage(
  {
    by: payee.id,
    days: [
      { day: 20_833, fetched: 0, served: 291_072, stored: 0 },
      { day: 20_836, fetched: 160_000, served: 0, stored: 160_000 },
    ],
    from: 20_819,
    issued: START_MS + 31 * cast.DAY_MS,
    to: 20_849,
  },
  payee.agent,
)

export const session = grantSession(
  {
    by: payee.id,
    circle: 'lab',
    expires: START_MS + 300_000,
    holder: payer.agent.key,
    issued: START_MS,
    member: payer.id,
    nonce: cast.bytesOf(0xe2, 16),
  },
  payee.agent,
)

const chainExamples: Examples = {
  'chain.shape': json({ seed: toHex(cast.SEED), ...cast.SHAPE, tickRoot: toHex(chain.root) }),
  'chain.links': json(
    Array.from({ length: cast.SHAPE.units }, (_, i) => ({
      segment: Math.floor(i / 4),
      place: (i % 4) + 1,
      link: toHex(chain.link(0, i + 1)),
    })),
  ),
  'tick.first': json(tickToJson(prepaidTick(1))),
  'tick.second': json(tickToJson(prepaidTick(2))),
  'tick.fifth': json(tickToJson(prepaidTick(5))),
}

const piecesOf = (meta: Metainfo) =>
  Array.from({ length: meta.pieces }, (_, index) => {
    const { file, offset, length } = locatePiece(meta, index)
    const { path } = meta.files[file] as Metainfo['files'][number]
    return { index, file: path.join('/'), offset, length, hash: toHex(pieceHash(meta, index)) }
  })

const torrentExamples: Examples = {
  'torrent.folder': { language: 'bencode', text: writeNotation(cast.trip.torrent, { keys: 'binary', depth: 40 }) },
  'torrent.names': json({
    infoHash: toHex(cast.trip.meta.infoHash),
    infoHashV1: toHex(cast.trip.meta.infoHashV1),
    magnet: formatMagnet(cast.trip.meta),
  }),
  'torrent.pieces': json(piecesOf(cast.trip.meta)),
  'torrent.film': json({
    name: cast.film.meta.name,
    bytes: cast.film.meta.bytes,
    pieceLength: cast.film.meta.pieceLength,
    pieces: cast.film.meta.pieces,
    infoHash: toHex(cast.film.meta.infoHash),
    infoHashV1: toHex(cast.film.meta.infoHashV1),
    sha256: toHex(sha256(cast.FILM)),
  }),
}

const bookExamples: Examples = {
  ...signed('book', 'book', book.head),
  'book.vouch': bencode(encodeVouch(book.vouches[vouchIndex] as (typeof book.vouches)[number])),
  'book.whole': json(bookToJson(book)),
  'book.proof': json(proofToJson(proveVouch(book, vouchIndex))),
}

export const objectExamples: Examples = {
  ...signed('genesis', 'identity', payer.operations[0]),
  ...signed('rotation', 'identity', rotation),
  ...signed('delegation', 'delegation', payer.delegation),
  ...signed('declaration', 'declaration', cast.declaration),
  ...signed('commitment', 'commitment', cast.prepaid),
  ...signed('claim', 'claim', claim),
  ...signed('redemption', 'redemption', redemption),
  ...signed('release', 'release', releaseLane),
  ...signed('release-rest', 'release', releaseRest),
  ...signed('transfer', 'transfer', transfer),
  ...signed('signoff', 'signoff', signoff),
  ...signed('announcement', 'announcement', announcement),
  ...signed('edition', 'edition', edition),
  ...signed('session', 'session', session),
  ...signed('usage', 'usage', usage),
  'session.header': text(`Raincheck-Session: ${formatSession(session)}`),
  ...signed('notice', 'notice', notice),
  ...chainExamples,
  ...sealedExamples,
  ...torrentExamples,
  ...bookExamples,
}
