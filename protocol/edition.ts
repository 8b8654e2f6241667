/**
 * Editions: what an owner shares under one name, one content after the other. All editions of an owner are one chain, so
 * that whoever follows it sees what is left out: a repository can hold back the newest, and neither forge nor drop one.
 * Body: {before?, by, infoHash, issued, name, prev?, seq}.
 */
import { requireSpeaker } from './authority.ts'
import { utf8, type Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import type { IdentityState } from './identity.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface EditionTerms {
  /** Info hash of what the series held until now, 32 bytes. */
  readonly before?: Bytes
  /** The id of the owner, 32 bytes. */
  readonly by: Bytes
  /** Info hash of what it holds from now on (v2), 32 bytes. */
  readonly infoHash: Bytes
  /** Milliseconds. */
  readonly issued: number
  /** Of the series, 1 to `limits.nameBytes` of UTF-8. */
  readonly name: string
  /** The id of the owner's edition before, in whichever series; none for the first. */
  readonly prev?: Bytes
  /** Counts all editions of the owner, from 0. */
  readonly seq: number
}

export type Edition = Signed<EditionTerms>

const shape = {
  before: field.optional(field.bytes(32)),
  by: field.bytes(32),
  infoHash: field.bytes(32),
  issued: field.integer(),
  name: field.text({ maxBytes: limits.nameBytes }),
  prev: field.optional(field.bytes(32)),
  seq: field.integer(),
}

export const publishEdition = (terms: EditionTerms, signer: Signer): Envelope => seal('edition', { ...terms }, signer)

/** It is shown on terminals: no character of it does anything there. */
export const isSeriesName = (name: string): boolean =>
  name !== '' && !/\p{C}/u.test(name) && utf8(name).length <= limits.nameBytes

/** @throws Problem `bad-signature`, `bad-encoding` */
export function parseEdition(envelope: Envelope): Edition {
  const edition = openEnvelope('edition', envelope, shape)
  if (!isSeriesName(edition.name)) throw new Problem('bad-encoding', 'A series has a name that can be shown.')
  if ((edition.seq === 0) !== (edition.prev === undefined)) {
    throw new Problem('bad-encoding', 'Every edition but the first names the one before.')
  }
  return edition
}

/**
 * The owner's keys, or an agent's that may `announce`.
 * @param atMs when the delegation has to be in force
 * @param speaks whether a key is the owner's: their keys now unless given
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export const requireEditor = (
  edition: Edition,
  by: IdentityState,
  delegation: Envelope | undefined,
  atMs: number,
  speaks?: (key: Bytes) => boolean,
): void => requireSpeaker(edition, by, { delegation, power: 'announce', atMs, ...(speaks && { speaks }) })
