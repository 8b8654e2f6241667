import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { concat, fromHex, utf8 } from '../../protocol/bytes.ts'
import { ed25519PublicKey, ed25519Sign } from '../../protocol/primitives-node.ts'
import { coded } from '../problems.ts'
import vectors from '../vectors/ed25519-edge-cases.json' with { type: 'json' }

type Rule = typeof import('../../protocol/signature.ts')

/** The rule as it runs in the given place: `#primitives` is what package.json chooses there. */
async function ruleOver(primitives: () => Promise<object>): Promise<Rule> {
  vi.resetModules()
  vi.doMock('#primitives', primitives)
  return import('../../protocol/signature.ts')
}

const rules = {
  node: await ruleOver(() => import('../../protocol/primitives-node.ts')),
  browser: await ruleOver(() => import('../../protocol/primitives-noble.ts')),
}
const credulous = await ruleOver(async () => ({
  ...(await import('../../protocol/primitives-node.ts')),
  ed25519Verify: () => true,
  ed25519VerifyAside: async () => true,
}))
afterAll(() => {
  vi.doUnmock('#primitives')
  vi.resetModules()
})

const cases = vectors.cases.map(({ name, accept, by, ...texts }) => ({
  name,
  accept,
  by,
  key: fromHex(texts.key),
  message: fromHex(texts.message),
  signature: fromHex(texts.signature),
}))
const verdict = (accept: boolean): string => (accept ? 'accepts' : 'refuses')

describe.each(Object.entries(rules))('the pinned ed25519 rule on %s', (_, { checkKey, verify, verifyAside }) => {
  it.each(cases.map((example) => [verdict(example.accept), example.name, example] as const))(
    '%s %s',
    async (_verdict, _name, { accept, key, message, signature }) => {
      expect(verify(signature, message, key)).toBe(accept)
      expect(await verifyAside(signature, message, key)).toBe(accept)
    },
  )

  it('accepts what was signed and nothing else', () => {
    const bytes = fc.uint8Array({ maxLength: 64 })
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), bytes, fc.nat(511), (secret, message, bit) => {
        const key = ed25519PublicKey(secret)
        const signature = ed25519Sign(message, secret)
        expect(verify(signature, message, key)).toBe(true)
        signature[bit >> 3] = (signature[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(verify(signature, message, key)).toBe(false)
      }),
      { numRuns: 40 },
    )
  })

  it('lets in the keys of honest signers', () => {
    expect(() => checkKey(ed25519PublicKey(new Uint8Array(32)))).not.toThrow()
  })

  it.each(
    cases
      .filter(({ name }) => /^A (?:of|and R the identity)\b/.test(name))
      .map(({ name, key }) => [name, key] as const),
  )('keeps the key out wherever a key enters: %s', (_name, key) => {
    expect(() => checkKey(key)).toThrow(coded('bad-encoding'))
  })

  it.each([0, 31, 33, 64])('keeps out a key of %i bytes', (length) => {
    expect(() => checkKey(new Uint8Array(length).fill(9))).toThrow(coded('bad-encoding'))
  })
})

describe('the rule, wherever it runs', () => {
  it.each(cases.map((example) => [example.name, example] as const))(
    'leaves no more to a library than it says: %s',
    async (_, { by, key, message, signature }) => {
      expect(credulous.verify(signature, message, key)).toBe(by === 'equation')
      expect(await credulous.verifyAside(signature, message, key)).toBe(by === 'equation')
    },
  )

  it('decides alike on odd points and scalars put together at random', () => {
    const any = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
    const whole = cases.filter(({ signature }) => signature.length === 64)
    const points = [...whole.map(({ key }) => key), ...whole.map(({ signature }) => signature.subarray(0, 32))]
    const scalars = whole.map(({ signature }) => signature.subarray(32))
    const message = fc.oneof(
      fc.nat(99).map((n) => utf8(`message ${n}`)),
      any(whole.map((example) => example.message)),
    )
    fc.assert(
      fc.property(any(points), any(points), any(scalars), message, (key, R, S, text) => {
        const signature = concat(R, S)
        expect(rules.browser.verify(signature, text, key)).toBe(rules.node.verify(signature, text, key))
      }),
    )
  })
})
