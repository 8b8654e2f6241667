import { describe, expect, it } from 'vitest'
import { createDistrusts } from '../../agent/trust/distrusts.ts'
import { createPruner } from '../../agent/trust/prune.ts'
import type { Surroundings } from '../../agent/trust/surroundings.ts'
import { edgesOf } from '../../protocol/chain.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { START_MS } from './hand-clock.ts'
import { bookOf, friend, open, other, owner, stranger, vouch } from './trust-desk.ts'

describe('a prune', () => {
  /** The stranger is vouched for by the friend, and was the first to vouch for another, as the owner does too. */
  function desk() {
    const { context, store } = open()
    const [own, theirs] = [
      bookOf(owner, [vouch(friend, 2, 9), vouch(other, 0, 2)]),
      bookOf(friend, [vouch(stranger, 1, 8)]),
    ]
    const older = { notBefore: START_MS - 1, expires: START_MS + limits.vouchMs - 1 }
    const books = [own, theirs, bookOf(stranger, [vouch(other, 0, 8, older)])]
    const edges = edgesOf({ identities: [owner, friend, stranger].map(({ state }) => state), books }, START_MS)
    const distrusts = createDistrusts(store)
    const looks: (() => Promise<Surroundings>)[] = []
    const lookAround = () => looks.shift()?.() ?? Promise.resolve({ edges, isWhole: true })
    const pruner = createPruner(context, { distrusts, lookAround })
    const notices = async () => (await store.list('notices', { limit: 10 })).length
    return { pruner, distrusts, looks, notices }
  }

  it.each([
    ['was interrupted', () => Promise.reject(new Problem('store-unavailable', 'Away.'))],
    ['found nobody, as the repository was away', () => Promise.resolve({ edges: [], isWhole: false })],
  ])('that %s does all of it when it comes again, and each time after that nothing more', async (_, look) => {
    const { pruner, distrusts, looks, notices } = desk()
    looks.push(look)
    await pruner.prune(stranger.hex, { tree: true }).catch(() => undefined)
    expect([[...(await distrusts.current()).distrusted], await notices()]).toEqual([[stranger.hex], 0])
    for (let times = 0; times < 2; times++) {
      const { vouchers } = await pruner.prune(stranger.hex, { tree: true })
      expect(vouchers).toEqual([{ id: friend.hex, halved: 1 }])
      const { distrusted, halved } = await distrusts.current()
      expect([...distrusted, ...halved]).toEqual([stranger.hex, other.hex, [friend.hex, 1]])
      expect(await notices()).toBe(1)
    }
  })
})
