/**
 * What a link needs to get in, as it rests in the store: sealed under a key that only the agent derives. Whoever has the
 * store alone reads nothing; whoever has the agent's key reads all.
 */
import { aes256GcmOpen, aes256GcmSeal, hmacSha256 } from '#primitives'
import { concat, fromBase64url, fromUtf8, toBase64url, utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'
import { fatal } from './faults.ts'

export interface Secrets {
  /**
   * @param name of the link: what was sealed for one link does not open for another
   * @returns printable text, another each time
   */
  seal(name: string, text: string): Promise<string>
  /** @throws Problem `storage-denied` when it was sealed by another agent, for another link, or is damaged */
  open(name: string, sealed: string): Promise<string>
}

/** Tokens and keys of one link by name, such as `refreshToken`. Never in a log, an error, a reply or a URL. */
export type LinkSecret = Readonly<Record<string, string>>

const NONCE_BYTES = 12
const LABEL = 'raincheck/link-secrets/v1'

/**
 * AES-256-GCM under a key of HKDF-SHA256 (RFC 5869; the label is its info). The link's name is authenticated, a random
 * nonce stands before the ciphertext, all of it is base64url.
 * @param secret the agent's own 32-byte key
 */
export function createSecrets(secret: Bytes, random: Random): Secrets {
  const key = hmacSha256(hmacSha256(new Uint8Array(32), secret), concat(utf8(LABEL), Uint8Array.of(1)))
  return {
    async seal(name, text) {
      const nonce = random.bytes(NONCE_BYTES)
      return toBase64url(concat(nonce, aes256GcmSeal(key, nonce, utf8(text), utf8(name))))
    },
    async open(name, sealed) {
      const bytes = decoded(sealed)
      const nonce = bytes.subarray(0, NONCE_BYTES)
      const text =
        nonce.length < NONCE_BYTES ? undefined : aes256GcmOpen(key, nonce, bytes.subarray(NONCE_BYTES), utf8(name))
      if (!text)
        throw fatal(
          'auth',
          'What the link was given to get in with does not open under this agent’s key: link it again.',
        )
      return fromUtf8(text)
    },
  }
}

function decoded(sealed: string): Uint8Array {
  try {
    return fromBase64url(sealed)
  } catch {
    return new Uint8Array(0)
  }
}
