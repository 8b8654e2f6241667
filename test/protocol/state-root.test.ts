/** The root of a set of items, kept up to date as they come and go. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createStateSum, stateRoot, STATE_SUM_BYTES, type StateItem } from '../../protocol/arbiter/state-root.ts'
import { sha256 } from '#primitives'
import * as noble from '../../protocol/primitives-noble.ts'
import * as node from '../../protocol/primitives-node.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import * as second from '../docs/second.ts'

const item = fc.record({
  pk: fc.constantFrom('account/1', 'account/2', 'lane/1'),
  sk: fc.constantFrom('-', '00001'),
  body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.from(bytes)),
})
const items = fc.uniqueArray(item, { selector: ({ pk, sk }) => `${pk} ${sk}` })

test('both primitives expand an item alike', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      expect(toHex(noble.shake256(bytes, STATE_SUM_BYTES))).toBe(toHex(node.shake256(bytes, STATE_SUM_BYTES)))
    }),
    { numRuns: 20 },
  )
  // FIPS 202, the empty message.
  expect(toHex(node.shake256(new Uint8Array(0), 32))).toBe(
    '46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f',
  )
})

test('of nothing it is the hash of zeros', () => {
  expect(stateRoot([])).toEqual(sha256(new Uint8Array(STATE_SUM_BYTES)))
})

test('is that of the items there are, in whatever order they came and whatever was there before', () => {
  fc.assert(
    fc.property(items, items, fc.array(fc.nat(9)), (kept, gone, order) => {
      const sum = createStateSum()
      for (const one of gone) sum.add(one)
      const shuffled = kept.toSorted((_, other) => (order[kept.indexOf(other)] ?? 0) - 5)
      for (const one of shuffled) sum.add(one)
      const later = createStateSum(sum.bytes())
      for (const one of gone) later.remove(one)
      expect(later.root()).toEqual(stateRoot(kept))
      expect(toHex(later.root())).toBe(toHex(second.stateRoot(kept)))
    }),
    { numRuns: 50 },
  )
})

test('tells any two sets of items apart', () => {
  fc.assert(
    fc.property(items, items, (some, others) => {
      const text = (set: readonly StateItem[]) =>
        set
          .map(({ pk, sk, body }) => `${pk} ${sk} ${toHex(body)}`)
          .toSorted()
          .join()
      expect(toHex(stateRoot(some)) === toHex(stateRoot(others))).toBe(text(some) === text(others))
    }),
    { numRuns: 50 },
  )
  expect(stateRoot([{ pk: 'a', sk: 'b', body: utf8('c') }])).not.toEqual(
    stateRoot([{ pk: 'a', sk: 'bc', body: utf8('') }]),
  )
})
