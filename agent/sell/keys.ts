/** The keys of sealed lanes are derived from the agent's key and the lane's id: nothing about them is stored, so none is lost. */
import { hmacSha256 } from '#primitives'
import { concat, utf8, type Bytes } from '../../protocol/bytes.ts'
import { keyOf } from '../../protocol/sealed.ts'
import type { Signer } from '../../protocol/signed.ts'
import type { LaneTerms } from './tab.ts'

const DOMAIN = utf8('raincheck/keys/v1\0')

const secrets = new WeakMap<Signer, Bytes>()

/** A signer does nothing but sign, and ed25519 signs the same bytes the same way: a signature that is never sent is a secret. */
function secretOf(signer: Signer): Bytes {
  const secret = secrets.get(signer) ?? signer.sign(DOMAIN)
  secrets.set(signer, secret)
  return secret
}

export const unitKeyOf = (signer: Signer, { id, cap }: Pick<LaneTerms, 'id' | 'cap'>, unit: number): Bytes =>
  keyOf(hmacSha256(secretOf(signer), concat(DOMAIN, id)), cap, unit)
