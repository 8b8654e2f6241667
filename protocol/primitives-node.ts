/**
 * Hashes, signatures and text codecs on Node, which does them natively (measured 8 to 20 times the portable versions).
 * `primitives-noble.ts` has the same exports for the browser; package.json's `imports` chooses. No rule lives here.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hash,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto'

type Bytes = Uint8Array<ArrayBuffer>

export const sha256 = (bytes: Uint8Array): Bytes => fromLatin1(hash('sha256', bytes, 'binary'))
/** Writes the 32 bytes at `at`, and allocates next to nothing: a piece takes hundreds of them. */
export function sha256Into(bytes: Uint8Array, out: Uint8Array, at: number): void {
  const digest = hash('sha256', bytes, 'binary')
  for (let i = 0; i < digest.length; i++) out[at + i] = digest.charCodeAt(i)
}
export const sha1 = (bytes: Uint8Array): Bytes => fromLatin1(hash('sha1', bytes, 'binary'))
export const hmacSha256 = (key: Uint8Array, bytes: Uint8Array): Bytes =>
  new Uint8Array(createHmac('sha256', key).update(bytes).digest())

/** SHAKE256 (FIPS 202 §6.2). */
export const shake256 = (bytes: Uint8Array, length: number): Uint8Array =>
  hash('shake256', bytes, { outputLength: length, outputEncoding: 'buffer' })

/** A digest as a latin1 string comes in less than half the time of a Buffer, whose `slice` would share memory besides. */
function fromLatin1(text: string): Bytes {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}

const link = Buffer.alloc(32)

/** SHA-256 applied `times` times to 32 bytes: 0.3 µs a step, since nothing is allocated. */
export function sha256Repeated(bytes: Uint8Array, times: number): Bytes {
  link.set(bytes)
  for (let i = 0; i < times; i++) link.write(hash('sha256', link, 'binary'), 0, 32, 'latin1')
  return new Uint8Array(link)
}

/** A hash over bytes that arrive in chunks. */
export interface Hasher {
  update(bytes: Uint8Array): Hasher
  digest(): Uint8Array
}
export const sha256Hasher = (): Hasher => createHash('sha256')
export const sha1Hasher = (): Hasher => createHash('sha1')

/**
 * AES-256 in counter mode (NIST SP 800-38A §6.5) from that block of 16 bytes on; it encrypts and decrypts alike.
 * @returns changes a run of bytes where it lies, the next going on where the last one ended: all but the last are whole blocks
 */
export function aes256Ctr(key: Uint8Array, counter: number): (run: Uint8Array) => void {
  const block = Buffer.alloc(16)
  block.writeBigUInt64BE(BigInt(counter), 8)
  const cipher = createCipheriv('aes-256-ctr', key, block)
  return (run) => {
    const out = cipher.update(run)
    run.set(out)
    // Freed at once: left to the collector, such buffers cost more than the cipher.
    if (out.buffer instanceof ArrayBuffer && out.buffer.byteLength === out.length) out.buffer.transfer(0)
  }
}

const TAG_BYTES = 16

/** AES-256-GCM (NIST SP 800-38D) under a nonce of 12 bytes: the ciphertext, then its tag of 16. `extra` is vouched for too. */
export function aes256GcmSeal(key: Uint8Array, nonce: Uint8Array, bytes: Uint8Array, extra: Uint8Array): Bytes {
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(extra)
  return new Uint8Array(Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]))
}

/** @returns undefined unless it was sealed with all of these */
export function aes256GcmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  extra: Uint8Array,
): Bytes | undefined {
  if (sealed.length < TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(extra)
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]))
  } catch {
    return undefined
  }
}

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const CACHED_KEYS = 4096
const privateKeys = new Map<string, KeyObject>()
const publicKeys = new Map<string, KeyObject>()

export const ed25519PublicKey = (secret: Uint8Array): Bytes => {
  const spki = createPublicKey(privateKey(secret)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(SPKI_ED25519.length))
}
export const ed25519Sign = (message: Uint8Array, secret: Uint8Array): Bytes =>
  new Uint8Array(sign(null, message, privateKey(secret)))

/** The library's answer alone: `protocol/signature.ts` puts the pinned rule in front of it. */
export const ed25519Verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  verify(null, message, publicKey(key), signature)

/** The same beside this thread. */
export const ed25519VerifyAside = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): Promise<boolean> =>
  new Promise((resolve, reject) => {
    verify(null, message, publicKey(key), signature, (error, isValid) => (error ? reject(error) : resolve(isValid)))
  })

const publicKey = (key: Uint8Array): KeyObject =>
  cached(publicKeys, key, () =>
    createPublicKey({ key: Buffer.concat([SPKI_ED25519, key]), format: 'der', type: 'spki' }),
  )

const privateKey = (secret: Uint8Array): KeyObject =>
  cached(privateKeys, secret, () =>
    createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, secret]), format: 'der', type: 'pkcs8' }),
  )

/** Parsing a key costs ten times using it: the latest are kept. */
function cached(keys: Map<string, KeyObject>, bytes: Uint8Array, parse: () => KeyObject): KeyObject {
  const id = Buffer.from(bytes).toString('latin1')
  const known = keys.get(id)
  if (known) return known
  const parsed = parse()
  if (keys.size >= CACHED_KEYS) keys.delete(keys.keys().next().value as string)
  keys.set(id, parsed)
  return parsed
}

export const encodeHex = (bytes: Uint8Array): string => view(bytes).toString('hex')
export const decodeHex = (text: string): Bytes => new Uint8Array(Buffer.from(text, 'hex'))
export const encodeBase64 = (bytes: Uint8Array): string => view(bytes).toString('base64')
export const encodeBase64url = (bytes: Uint8Array): string => view(bytes).toString('base64url')
/** Either alphabet, padded or not; the caller checks the form. */
export const decodeBase64 = (text: string): Bytes => new Uint8Array(Buffer.from(text, 'base64'))

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
