/** Who and what the examples of the docs are about: everything follows from a few fixed keys and one fixed moment. */
import { sha256 } from '#primitives'
import { commit } from '../../protocol/commitment.ts'
import { declare } from '../../protocol/declaration.ts'
import { delegate, type DelegationTerms } from '../../protocol/delegation.ts'
import { genesis } from '../../protocol/identity.ts'
import { makeTorrent } from '../../protocol/make-torrent.ts'
import { makeChain } from '../../protocol/payword.ts'
import { fileHasher } from '../../protocol/piece.ts'
import { objectId, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import type { Bytes } from '../../protocol/bytes.ts'

export const LEDGER_URL = 'https://ledger.example'
export const REPOSITORY_URL = 'https://repository.example'
export const SELLER_URL = 'https://seller.example'
export const BUYER_URL = 'https://buyer.example'

/** 2027-01-15T08:00:00Z */
export const START_MS = 1_800_000_000_000
export const MINUTE_MS = 60_000
export const DAY_MS = 86_400_000

/** 32 or another number of equal bytes. */
export const bytesOf = (byte: number, length = 32): Bytes => new Uint8Array(length).fill(byte)

export interface Party {
  readonly id: Bytes
  /** The everyday key of the owner. */
  readonly owner: Signer
  readonly agent: Signer
  readonly operations: readonly [Envelope]
  readonly delegation: Envelope
}

/** Secret key by role: 32 bytes of this value. */
export const SECRETS = {
  'payer, recovery key': 1,
  'payer, everyday key': 2,
  'payer’s agent': 3,
  payee: 4,
  'payee’s agent': 5,
  ledger: 6,
  friend: 7,
} as const

const signerOf = (role: keyof typeof SECRETS): Signer => signerFrom(bytesOf(SECRETS[role]))

export const recovery = signerOf('payer, recovery key')
export const ledgerSigner = signerOf('ledger')
/** SHA-256 of the ledger's key. */
export const ledgerId = sha256(ledgerSigner.key)

function party(keys: readonly [Signer, ...Signer[]], agent: Signer, may: DelegationTerms['may']): Party {
  const operation = genesis(keys, START_MS)
  const id = objectId('identity', operation.body)
  const owner = keys.at(-1) as Signer
  const caps = { day: 1_000n, total: 10_000n, issued: START_MS, expires: START_MS + 30 * DAY_MS, ledger: ledgerId }
  return {
    id,
    owner,
    agent,
    operations: [operation],
    delegation: delegate({ ...caps, agent: agent.key, may, owner: id }, owner),
  }
}

export const payer = party([recovery, signerOf('payer, everyday key')], signerOf('payer’s agent'), [
  'announce',
  'book',
  'spend',
])
export const payee = party([signerOf('payee')], signerOf('payee’s agent'), ['announce', 'book', 'spend'])
/** Has no agent. */
export const friend = party([signerOf('friend')], signerOf('friend'), [])

export const PIECE_BYTES = 16_384
export const PRICE = 3n
export const FILM_NAME = 'film.bin'
/** Byte i is i mod 251. */
export const FILM = Uint8Array.from({ length: 160_000 }, (_, i) => i % 251)
export const film = makeTorrent({
  name: FILM_NAME,
  folder: false,
  pieceLength: PIECE_BYTES,
  files: [{ path: [FILM_NAME], hashes: hashesOf(FILM, false) }],
})

/** A folder of an empty file, one of two pieces and one of a few bytes. */
export const trip = makeTorrent({
  name: 'trip',
  folder: true,
  pieceLength: PIECE_BYTES,
  files: [
    { path: ['empty.txt'], hashes: hashesOf(new Uint8Array(0), true) },
    { path: ['notes.txt'], hashes: hashesOf(FILM.slice(0, 20_000), true) },
    { path: ['photos', 'one.jpg'], hashes: hashesOf(FILM.slice(0, 5), false) },
  ],
})

function hashesOf(content: Uint8Array, padded: boolean) {
  const hasher = fileHasher({ length: content.length, pieceLength: PIECE_BYTES, padded })
  hasher.update(content)
  return hasher.digest()
}

export const SEED = bytesOf(0xaa)
export const SHAPE = { units: 10, segment: 4 }
export const chain = makeChain(SEED, SHAPE)

export const declaration = declare(
  {
    ...SHAPE,
    content: film.meta.infoHash,
    disputeWindow: 3_600_000,
    expires: START_MS + DAY_MS,
    ledger: ledgerId,
    nonce: bytesOf(0xbb, 16),
    payer: payer.id,
    tickRoot: chain.root,
    unitBytes: PIECE_BYTES,
    unitPrice: PRICE,
  },
  payer.agent,
)
export const declarationId = objectId('declaration', declaration.body)

/** Prepaid: segments 1 and 2 of the chain. */
export const prepaidLane = {
  cap: 6,
  declaration: declarationId,
  first: 1,
  mode: 'prepaid',
  payee: payee.id,
  segments: 2,
} as const
/** On credit: segment 0. */
export const creditLane = {
  cap: 4,
  declaration: declarationId,
  first: 0,
  mode: 'credit',
  payee: payee.id,
  segments: 1,
} as const
export const prepaid = commit(prepaidLane, payer.agent)
export const onCredit = commit(creditLane, payer.agent)
export const prepaidId = objectId('commitment', prepaid.body)
export const onCreditId = objectId('commitment', onCredit.body)
