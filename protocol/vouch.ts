/**
 * Vouch books: an issuer's complete live set of vouches. What is signed is the book's head, with the Merkle root (RFC
 * 6962) of the vouches, each with a salt of its own: a subject can show its own vouch alone, and nobody learns the others
 * by guessing. To revoke is to publish `seq` + 1 without the entry.
 *
 * Head: {count, expires, issued, issuer, prev?, root, seq}. Vouch: {credit, depth, expires, notBefore, salt, scope,
 * subject}; a leaf is its canonical bencode. Vouches stand in the order of subject, then scope, so that two neighbours
 * show that one between them is absent.
 *
 * The owner's keys write a book, and go on counting for it after they were rotated out, up to the number that the rotation
 * names (`wroteFor`). So does an agent's key that may `book`. Any other delegated key only renews: new
 * times for the very vouches of the last head that the owner signed, which is shown beside as `base`.
 */
import { authorityOf } from './authority.ts'
import { compare, equal, fromBase64url, toBase64url, utf8, type Bytes } from './bytes.ts'
import { requirePower } from './delegation.ts'
import { decode, encode, field, fields } from './encoding.ts'
import { wroteFor, type IdentityState } from './identity.ts'
import { limits } from './limits.ts'
import { inclusionProof, leafHash, levelsOf, rootOf, verifyInclusion, type Levels } from './merkle.ts'
import { Problem } from './problem.ts'
import {
  envelopeFromJson,
  envelopeToJson,
  objectId,
  seal,
  verifyEnvelope,
  type Envelope,
  type EnvelopeJson,
  type Signer,
} from './signed.ts'

export interface Vouch {
  /** The id vouched for, 32 bytes. */
  readonly subject: Bytes
  /** How many steps of vouches may follow this one, 0 to `limits.vouchDepth`. */
  readonly depth: number
  /** Pieces that may be unpaid. */
  readonly credit: number
  /** What for; '' for everything. */
  readonly scope: string
  /** Milliseconds. */
  readonly notBefore: number
  /** Milliseconds; at most `limits.vouchMs` after `notBefore`. */
  readonly expires: number
  /** 16 random bytes. */
  readonly salt: Bytes
}

export interface BookTerms {
  /** 32 bytes. */
  readonly issuer: Bytes
  /** 0 for the first book, which alone has no `prev`. */
  readonly seq: number
  /** `id` of the head before. */
  readonly prev?: Bytes
  /** Milliseconds. */
  readonly issued: number
  /** Milliseconds; at most `limits.bookMs` after `issued`. */
  readonly expires: number
}

export interface BookHead extends BookTerms {
  readonly count: number
  readonly root: Bytes
  /** 32 bytes. */
  readonly id: Bytes
  /** Who signed: `requireAuthor` says whether they may. */
  readonly key: Bytes
}

/** A head and what shows that its signer may speak for the issuer. */
export interface SignedHead {
  readonly head: Envelope
  /** Where an agent's key signed. */
  readonly delegation?: Envelope
  /** Where that key may only renew: the head with the same vouches that the owner signed. */
  readonly base?: Envelope
}

export interface Book extends SignedHead {
  /** In order. */
  readonly vouches: readonly Vouch[]
}

/** One vouch of a book, shown without the others. */
export interface VouchProof extends SignedHead {
  readonly vouch: Vouch
  readonly index: number
  /** RFC 6962 §2.1.1 */
  readonly path: readonly Bytes[]
}

/** @param vouches in any order; their salts must be random */
export function writeBook(terms: BookTerms, vouches: readonly Vouch[], signer: Signer, delegation?: Envelope): Book {
  const ordered = vouches.toSorted(compareVouches)
  const { issuer, seq, prev, issued, expires } = terms
  const head = { count: ordered.length, expires, issued, issuer, prev, root: rootOf(leavesOf(ordered)), seq }
  return { head: seal('book', head, signer), ...(delegation && { delegation }), vouches: ordered }
}

/** The next book with the same vouches, in an agent's name. */
export function renewBook(
  { vouches, ...before }: Book,
  times: Pick<BookTerms, 'issued' | 'expires'>,
  signer: Signer,
  delegation: Envelope,
): Book {
  const { id, seq, issuer, count, root } = readHead(before.head)
  const head = { ...times, count, issuer, prev: id, root, seq: seq + 1 }
  return { head: seal('book', head, signer), delegation, base: before.base ?? before.head, vouches }
}

/** Verifies the signature, not who signed. @throws Problem `bad-signature`, `bad-encoding` */
export function parseHead(envelope: Envelope): BookHead {
  verifyEnvelope('book', envelope)
  return readHead(envelope)
}

/** The head, when the vouches are the ones that it names. @throws Problem `bad-signature`, `bad-encoding` */
export function checkBook(book: Book): BookHead {
  const head = parseHead(book.head)
  book.vouches.forEach((vouch) => checkVouch(vouch, head))
  const ordered = book.vouches.every((vouch, i) => i === 0 || compareVouches(book.vouches[i - 1] as Vouch, vouch) < 0)
  if (!ordered) refuse('The vouches are not in order, or one is there twice.')
  if (head.count !== book.vouches.length || !equal(rootOf(leavesOf(book.vouches)), head.root)) {
    refuse('The vouches are not those of the head.')
  }
  return head
}

/**
 * @param issuer the identity that the head names
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export function requireAuthor({ head, delegation, base }: SignedHead, issuer: IdentityState, nowMs: number): void {
  const parsed = readHead(head)
  if (!equal(parsed.issuer, issuer.id)) throw new Problem('unknown-key', 'The book is of another identity.')
  const delegated = authorityOf(issuer, parsed.key, delegation, (key) => wroteFor(issuer, key, parsed.seq))
  if (!delegated) return
  if (delegated.may.includes('book')) return requirePower(delegated, 'book', nowMs)
  if (nowMs >= delegated.expires) throw new Problem('delegation-exceeded', 'The delegation has expired.')
  if (!base) throw new Problem('delegation-exceeded', 'The delegation does not allow to change the book.')
  const written = parseHead(base)
  const same =
    equal(written.issuer, parsed.issuer) && equal(written.root, parsed.root) && written.count === parsed.count
  if (!same || written.seq >= parsed.seq)
    throw new Problem('delegation-exceeded', 'The renewed book has other vouches.')
  requireAuthor({ head: base }, issuer, nowMs)
}

/** Whether two heads prove that their issuer shows different books under one number: an agent's renewal that crossed its owner's change does not. */
export function isEquivocation(a: Envelope, b: Envelope, issuer: IdentityState): boolean {
  const [one, other] = [parseHead(a), parseHead(b)]
  const areOwners = [one, other].every((head) => equal(head.issuer, issuer.id) && wroteFor(issuer, head.key, head.seq))
  return areOwners && one.seq === other.seq && !equal(one.root, other.root)
}

/** Whether a book renews another than the one that is known of its issuer: what its owner has changed since stays so. */
export const renewsOlder = ({ head, base }: SignedHead, known: Pick<BookHead, 'seq' | 'root'>): boolean =>
  base !== undefined && readHead(base).seq <= known.seq && !equal(readHead(head).root, known.root)

/** The tree of a book's vouches: whoever proves several makes it once. */
export const bookTree = ({ vouches }: Book): Levels => levelsOf(leavesOf(vouches))

export function proveVouch(book: Book, index: number, tree: Levels = bookTree(book)): VouchProof {
  const { vouches, ...signed } = book
  const vouch = vouches[index]
  if (!vouch) throw new RangeError(`the book has no vouch ${index}`)
  return { ...signed, vouch, index, path: inclusionProof(tree, index) }
}

/** The head, when the vouch is in its book. @throws Problem `bad-signature`, `bad-encoding` */
export function checkProof({ head: envelope, vouch, index, path }: VouchProof): BookHead {
  const head = parseHead(envelope)
  checkVouch(vouch, head)
  if (!verifyInclusion(index, head.count, leafHash(encodeVouch(vouch)), path, head.root)) {
    refuse('The vouch is not in the book.')
  }
  return head
}

/** Whether a vouch counts at a time. */
export const isLiveVouch = (head: BookTerms, vouch: Vouch, nowMs: number): boolean =>
  isLiveHead(head, nowMs) && vouch.notBefore <= nowMs && nowMs < vouch.expires

export const isLiveHead = (head: BookTerms, nowMs: number): boolean =>
  head.issued <= nowMs + limits.clockSkewMs && nowMs < head.expires

/** Canonical bencode: what is hashed as a leaf. */
export const encodeVouch = (vouch: Vouch): Bytes => encode({ ...vouch })

/** A canonical bencode list. */
export const encodeVouches = (vouches: readonly Vouch[]): Bytes => encode(vouches.map((vouch) => ({ ...vouch })))

/** @throws Problem `bad-encoding`, `too-large` */
export function decodeVouches(bytes: Uint8Array): readonly Vouch[] {
  if (bytes.length > limits.bookBytes) throw new Problem('too-large', `A book has at most ${limits.bookBytes} bytes.`)
  const vouches = decode(bytes)
  if (Array.isArray(vouches) && vouches.length > limits.vouchesPerBook)
    throw new Problem('too-large', `A book has at most ${limits.vouchesPerBook} vouches.`)
  return fields({ vouches }, { vouches: field.list(vouchField) }).vouches
}

const vouchShape = {
  credit: field.integer({ max: limits.vouchCredit }),
  depth: field.integer({ max: limits.vouchDepth }),
  expires: field.integer(),
  notBefore: field.integer(),
  salt: field.bytes(16),
  scope: field.text({ maxBytes: limits.scopeBytes }),
  subject: field.bytes(32),
}
const vouchField = field.dict(vouchShape)

const headShape = {
  count: field.integer({ max: limits.vouchesPerBook }),
  expires: field.integer(),
  issued: field.integer(),
  issuer: field.bytes(32),
  prev: field.optional(field.bytes(32)),
  root: field.bytes(32),
  seq: field.integer(),
}

/** Of a head whose signature was verified before. @throws Problem `bad-encoding` */
export function readHead(envelope: Envelope): BookHead {
  const head = fields(decode(envelope.body), headShape)
  if ((head.seq === 0) !== (head.prev === undefined)) refuse('All books but the first have "prev".')
  if (head.expires <= head.issued || head.expires - head.issued > limits.bookMs) {
    refuse(`A book lasts up to ${limits.bookMs} ms.`)
  }
  return { ...head, id: objectId('book', envelope.body), key: envelope.key }
}

function checkVouch(vouch: Vouch, { issuer }: BookHead): void {
  if (equal(vouch.subject, issuer)) refuse('An issuer does not vouch for itself.')
  if (vouch.expires <= vouch.notBefore || vouch.expires - vouch.notBefore > limits.vouchMs) {
    refuse(`A vouch lasts up to ${limits.vouchMs} ms.`)
  }
}

const leavesOf = (vouches: readonly Vouch[]): Bytes[] => vouches.map((vouch) => leafHash(encodeVouch(vouch)))

const compareVouches = (a: Vouch, b: Vouch): number =>
  compare(a.subject, b.subject) || compare(utf8(a.scope), utf8(b.scope))

export interface SignedHeadJson {
  readonly head: EnvelopeJson
  readonly delegation?: EnvelopeJson | undefined
  readonly base?: EnvelopeJson | undefined
}
export interface BookJson extends SignedHeadJson {
  /** base64url of the bencode list. */
  readonly vouches: string
}
export interface VouchProofJson extends SignedHeadJson {
  /** base64url of the bencode. */
  readonly vouch: string
  readonly index: number
  /** base64url each. */
  readonly path: readonly string[]
}

export const bookToJson = ({ vouches, ...signed }: Book): BookJson => ({
  ...signedToJson(signed),
  vouches: toBase64url(encodeVouches(vouches)),
})

/** Checks the form only: the rest is for `checkBook` and `requireAuthor`. @throws Problem `bad-request`, `bad-encoding`, `too-large` */
export const bookFromJson = ({ vouches, ...signed }: BookJson): Book => ({
  ...signedFromJson(signed),
  vouches: decodeVouches(fromBase64url(vouches)),
})

export const proofToJson = ({ vouch, index, path, ...signed }: VouchProof): VouchProofJson => ({
  ...signedToJson(signed),
  vouch: toBase64url(encodeVouch(vouch)),
  index,
  path: path.map(toBase64url),
})

/** Checks the form only: the rest is for `checkProof` and `requireAuthor`. @throws Problem `bad-request`, `bad-encoding` */
export const proofFromJson = ({ vouch, index, path, ...signed }: VouchProofJson): VouchProof => ({
  ...signedFromJson(signed),
  vouch: fields(decode(fromBase64url(vouch)), vouchShape),
  index,
  path: path.map((hash) => fromBase64url(hash, 32)),
})

const signedToJson = ({ head, delegation, base }: SignedHead): SignedHeadJson => ({
  head: envelopeToJson(head),
  ...(delegation && { delegation: envelopeToJson(delegation) }),
  ...(base && { base: envelopeToJson(base) }),
})

const signedFromJson = ({ head, delegation, base }: SignedHeadJson): SignedHead => ({
  head: envelopeFromJson(head),
  ...(delegation && { delegation: envelopeFromJson(delegation) }),
  ...(base && { base: envelopeFromJson(base) }),
})

function refuse(detail: string): never {
  throw new Problem('bad-encoding', detail)
}
