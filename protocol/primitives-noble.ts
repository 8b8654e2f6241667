/** Hashes, signatures and text codecs wherever JavaScript runs: the same exports as `primitives-node.ts`, which is faster on Node. */
import { ctr, gcm } from '@noble/ciphers/aes.js'
import { Point, etc, getPublicKey, hashes, sign } from '@noble/ed25519'
import { hmac } from '@noble/hashes/hmac.js'
import { sha1 as nobleSha1 } from '@noble/hashes/legacy.js'
import { sha256 as nobleSha256, sha512 } from '@noble/hashes/sha2.js'
import { shake256 as nobleShake256 } from '@noble/hashes/sha3.js'
import { bytesToHex, concatBytes, hexToBytes } from '@noble/hashes/utils.js'

type Bytes = Uint8Array<ArrayBuffer>

hashes.sha512 = sha512

export const sha256 = (bytes: Uint8Array): Bytes => nobleSha256(bytes)
/** Writes the 32 bytes at `at`. */
export const sha256Into = (bytes: Uint8Array, out: Uint8Array, at: number): void => out.set(nobleSha256(bytes), at)
export const sha1 = (bytes: Uint8Array): Bytes => nobleSha1(bytes)
export const hmacSha256 = (key: Uint8Array, bytes: Uint8Array): Bytes => hmac(nobleSha256, key, bytes)

/** SHAKE256 (FIPS 202 §6.2). */
export const shake256 = (bytes: Uint8Array, length: number): Uint8Array => nobleShake256(bytes, { dkLen: length })

/** SHA-256 applied `times` times to 32 bytes. */
export function sha256Repeated(bytes: Uint8Array, times: number): Bytes {
  let link = Uint8Array.from(bytes)
  for (let i = 0; i < times; i++) link = sha256(link)
  return link
}

/** A hash over bytes that arrive in chunks. */
export interface Hasher {
  update(bytes: Uint8Array): Hasher
  digest(): Uint8Array
}
export const sha256Hasher = (): Hasher => nobleSha256.create()
export const sha1Hasher = (): Hasher => nobleSha1.create()

/**
 * AES-256 in counter mode (NIST SP 800-38A §6.5) from that block of 16 bytes on; it encrypts and decrypts alike.
 * @returns changes a run of bytes where it lies, the next going on where the last one ended: all but the last are whole blocks
 */
export function aes256Ctr(key: Uint8Array, counter: number): (run: Uint8Array) => void {
  const block = new Uint8Array(16)
  let next = counter
  return (run) => {
    new DataView(block.buffer).setBigUint64(8, BigInt(next))
    next += run.length / block.length
    run.set(ctr(key, block).encrypt(run))
  }
}

/** AES-256-GCM (NIST SP 800-38D) under a nonce of 12 bytes: the ciphertext, then its tag of 16. `extra` is vouched for too. */
export const aes256GcmSeal = (key: Uint8Array, nonce: Uint8Array, bytes: Uint8Array, extra: Uint8Array): Bytes =>
  new Uint8Array(gcm(key, nonce, extra).encrypt(bytes))

/** @returns undefined unless it was sealed with all of these */
export function aes256GcmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  extra: Uint8Array,
): Bytes | undefined {
  try {
    return new Uint8Array(gcm(key, nonce, extra).decrypt(sealed))
  } catch {
    return undefined
  }
}

export const ed25519PublicKey = (secret: Uint8Array): Bytes => getPublicKey(secret)
export const ed25519Sign = (message: Uint8Array, secret: Uint8Array): Bytes => sign(message, secret)

/**
 * The equation without cofactor on the bytes of R, as OpenSSL has it (RFC 8032 §5.1.7: either is allowed, but a ledger
 * needs one). The library's own `verify` multiplies by the cofactor and so accepts more.
 */
export function ed25519Verify(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  const r = signature.subarray(0, 32)
  try {
    const s = littleEndian(signature.subarray(32))
    const k = etc.mod(littleEndian(sha512(concatBytes(r, key, message))), Point.CURVE().n)
    const expected = Point.BASE.multiplyUnsafe(s).subtract(Point.fromBytes(key).multiplyUnsafe(k))
    return bytesToHex(expected.toBytes()) === bytesToHex(r)
  } catch {
    return false
  }
}

/** The same: there is no other thread. */
export const ed25519VerifyAside = async (
  signature: Uint8Array,
  message: Uint8Array,
  key: Uint8Array,
): Promise<boolean> => ed25519Verify(signature, message, key)

const littleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${bytesToHex(bytes.toReversed())}`)

export const encodeHex = (bytes: Uint8Array): string => bytesToHex(bytes)
export const decodeHex = (text: string): Bytes => hexToBytes(text)

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const BASE64 = `${LETTERS}+/`
const BASE64URL = `${LETTERS}-_`
const SEXTETS = new Map(Array.from(BASE64 + BASE64URL, (letter, i) => [letter, i % 64]))

export const encodeBase64 = (bytes: Uint8Array): string => {
  const text = encodeSextets(bytes, BASE64)
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=')
}
export const encodeBase64url = (bytes: Uint8Array): string => encodeSextets(bytes, BASE64URL)

/** Either alphabet, padded or not; the caller checks the form. */
export function decodeBase64(text: string): Bytes {
  const letters = text.replace(/=.*$/, '')
  const bytes = new Uint8Array(Math.floor((letters.length * 3) / 4))
  let pending = 0
  for (let i = 0, at = 0; i < letters.length; i++) {
    pending = (pending << 6) | (SEXTETS.get(letters.charAt(i)) ?? 0)
    // Of each four letters, all but the first complete a byte; 4, 2 and 0 bits stay over.
    if (i % 4 > 0) bytes[at++] = pending >> (6 - 2 * (i % 4))
  }
  return bytes
}

function encodeSextets(bytes: Uint8Array, alphabet: string): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(i, i + 3)
    const word = (a << 16) | (b << 8) | c
    const letters = Math.min(bytes.length - i, 3) + 1
    for (let n = 0; n < letters; n++) text += alphabet.charAt((word >> (18 - 6 * n)) & 63)
  }
  return text
}
