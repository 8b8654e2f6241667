import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as node from '../../protocol/primitives-node.ts'
import * as noble from '../../protocol/primitives-noble.ts'

const bytes = fc.uint8Array({ maxLength: 300 })
const secret = fc.uint8Array({ minLength: 32, maxLength: 32 })
const both = [node, noble] as const
const agree = (ask: (primitives: typeof node) => unknown): void => {
  expect(ask(noble)).toEqual(ask(node))
}

test('both export the same names', () => {
  expect(Object.keys(noble).toSorted()).toEqual(Object.keys(node).toSorted())
})

test('both agree on every hash', () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      agree(({ sha256 }) => sha256(a))
      agree(({ sha1 }) => sha1(a))
      agree(({ hmacSha256 }) => hmacSha256(a, b))
    }),
  )
})

test('both agree on hashes in chunks, whatever the chunks', () => {
  fc.assert(
    fc.property(fc.array(bytes), (chunks) => {
      const whole = Buffer.concat(chunks)
      for (const { sha256Hasher, sha256, sha1Hasher, sha1 } of both) {
        const [long, short] = [sha256Hasher(), sha1Hasher()]
        for (const chunk of chunks) {
          long.update(chunk)
          short.update(chunk)
        }
        expect(new Uint8Array(long.digest())).toEqual(sha256(whole))
        expect(new Uint8Array(short.digest())).toEqual(sha1(whole))
      }
    }),
  )
})

test('both agree on a hash into a buffer, and on a repeated one', () => {
  fc.assert(
    fc.property(bytes, secret, fc.nat(40), fc.nat(5), (a, link, at, times) => {
      agree(({ sha256Into }) => {
        const out = new Uint8Array(80)
        sha256Into(a, out, at)
        return out
      })
      agree(({ sha256Repeated }) => sha256Repeated(link, times))
      for (const { sha256Repeated } of both) expect(sha256Repeated(link, 0)).toEqual(link)
    }),
  )
})

test('both make the same keys and signatures and verify them alike, spoiled ones too', () => {
  fc.assert(
    fc.property(secret, bytes, fc.nat(511), (seed, message, bit) => {
      agree(({ ed25519PublicKey }) => ed25519PublicKey(seed))
      agree(({ ed25519Sign }) => ed25519Sign(message, seed))
      const key = node.ed25519PublicKey(seed)
      const signature = node.ed25519Sign(message, seed)
      for (const { ed25519Verify } of both) expect(ed25519Verify(signature, message, key)).toBe(true)
      signature[bit >> 3] = (signature[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      for (const { ed25519Verify } of both) expect(ed25519Verify(signature, message, key)).toBe(false)
    }),
    { numRuns: 25 },
  )
})

test('both agree on every text form, there and back', () => {
  fc.assert(
    fc.property(bytes, (a) => {
      agree(({ encodeHex }) => encodeHex(a))
      agree(({ encodeBase64 }) => encodeBase64(a))
      agree(({ encodeBase64url }) => encodeBase64url(a))
      for (const { decodeHex, decodeBase64, encodeHex, encodeBase64, encodeBase64url } of both) {
        expect(decodeHex(encodeHex(a))).toEqual(a)
        expect(decodeBase64(encodeBase64(a))).toEqual(a)
        expect(decodeBase64(encodeBase64url(a))).toEqual(a)
      }
    }),
  )
})

test('both decode any run of base64 letters alike, also one that nothing encodes to', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z0-9+/_-]*={0,2}$/), (text) => {
      agree(({ decodeBase64 }) => decodeBase64(text))
    }),
  )
})

test('both encrypt alike in counter mode, from any block on and in any runs, and decrypt the same way', () => {
  const crypted = ({ aes256Ctr }: typeof node, key: Uint8Array, counter: number, runs: readonly Uint8Array[]) => {
    const crypt = aes256Ctr(key, counter)
    const copies = runs.map((run) => new Uint8Array(run))
    for (const copy of copies) crypt(copy)
    return Uint8Array.from(copies.flatMap((copy) => [...copy]))
  }
  fc.assert(
    fc.property(bytes, secret, fc.nat(2 ** 22), fc.nat(8), (text, key, counter, blocks) => {
      const plain = new Uint8Array(text)
      agree((one) => crypted(one, key, counter, [plain]))
      for (const one of both) {
        const cipher = crypted(one, key, counter, [plain])
        expect(crypted(one, key, counter, [cipher])).toEqual(plain)
        const cut = Math.min(16 * blocks, plain.length - (plain.length % 16))
        const [first, rest] = [plain.subarray(0, cut), plain.subarray(cut)]
        expect(crypted(one, key, counter, [first, rest])).toEqual(cipher)
        expect(crypted(one, key, counter + cut / 16, [rest])).toEqual(cipher.slice(cut))
      }
    }),
  )
  // AES-256 of zeros under a key of zeros (NIST KAT).
  for (const one of both) {
    const block = crypted(one, new Uint8Array(32), 0, [new Uint8Array(16)])
    expect(Buffer.from(block).toString('hex')).toBe('dc95c078a2408989ad48a21492842087')
  }
})

test('what the cipher puts out is given back at once, not left to be collected', () => {
  const crypt = node.aes256Ctr(new Uint8Array(32), 0)
  const run = new Uint8Array(64 * 1024)
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 256; i++) crypt(run)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * run.length)
})

test('both seal alike, and open nothing that was sealed otherwise', () => {
  const nonce = fc.uint8Array({ minLength: 12, maxLength: 12 })
  fc.assert(
    fc.property(secret, nonce, bytes, bytes, fc.nat(), (key, once, text, extra, at) => {
      agree(({ aes256GcmSeal }) => aes256GcmSeal(key, once, text, extra))
      const sealed = node.aes256GcmSeal(key, once, text, extra)
      const damaged = Uint8Array.from(sealed, (byte, i) => (i === at % sealed.length ? byte ^ 1 : byte))
      for (const { aes256GcmOpen } of both) {
        expect(aes256GcmOpen(key, once, sealed, extra)).toEqual(new Uint8Array(text))
        expect(aes256GcmOpen(key, once, damaged, extra)).toBeUndefined()
        expect(aes256GcmOpen(key, once, sealed, Uint8Array.of(...extra, 0))).toBeUndefined()
        expect(aes256GcmOpen(key, once, sealed.subarray(0, 15), extra)).toBeUndefined()
      }
    }),
  )
})
