/**
 * The one pinned ed25519 rule (RFC 8032 §5.1.7). Libraries, and versions of one library, disagree on odd keys and
 * signatures; a ledger cannot. So what they disagree on is refused here, by table, before a library is asked:
 * A and R are canonical (y < p, no sign on x = 0) and not of small order, S is below the order of the group.
 * The library then decides by the equation without cofactor, [S]B = R + [k]A, on the bytes of R.
 */
import { ed25519Verify, ed25519VerifyAside } from '#primitives'
import { fromHex } from './bytes.ts'
import { Problem } from './problem.ts'

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64

/** p = 2^255 - 19 and L = 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 8032 §5.1). */
const P = fromHex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f')
const L = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010')

/** The y of the eight points whose order divides 8: of order 1, 2, 4 (y = 0) and 8 (two values of y). Their x may have either sign. */
const SMALL_ORDER_Y = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map((hex) => fromHex(hex))

/** Whether `signature` (64 bytes) on `message` is valid under `key` (32 bytes). Never throws. */
export const verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  isSound(signature, key) && ed25519Verify(signature, message, key)

/** The same, beside this thread where the host has others. */
export const verifyAside = async (signature: Uint8Array, message: Uint8Array, key: Uint8Array): Promise<boolean> =>
  isSound(signature, key) && ed25519VerifyAside(signature, message, key)

const isSound = (signature: Uint8Array, key: Uint8Array): boolean =>
  signature.length === SIGNATURE_BYTES &&
  isSoundPoint(key) &&
  isSoundPoint(signature.subarray(0, 32)) &&
  isBelow(signature.subarray(32), L)

/** For wherever a key enters. @throws Problem `bad-encoding` unless the key has 32 bytes, is canonical and not of small order */
export function checkKey(key: Uint8Array): void {
  if (!isSoundPoint(key)) throw new Problem('bad-encoding', 'The key is not a canonical ed25519 key of large order.')
}

/** x = 0 belongs to two points of small order only, so its sign needs no check of its own. */
function isSoundPoint(point: Uint8Array): boolean {
  if (point.length !== KEY_BYTES) return false
  const y = Uint8Array.from(point)
  y[31] = (y[31] as number) & 0x7f
  return isBelow(y, P) && !SMALL_ORDER_Y.some((small) => small.every((byte, i) => byte === y[i]))
}

/** Compares little-endian integers of 32 bytes. */
function isBelow(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = KEY_BYTES - 1; i >= 0; i--) {
    if (value[i] !== bound[i]) return (value[i] as number) < (bound[i] as number)
  }
  return false
}
