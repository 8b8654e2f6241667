import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { utf8 } from '../../protocol/bytes.ts'
import { chainsToJson } from '../../protocol/chain.ts'
import { replay, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { checkBook, parseHead, proveVouch, renewBook, type Book } from '../../protocol/vouch.ts'
import { codeOf } from '../problems.ts'
import { START_MS } from './hand-clock.ts'

import {
  account,
  agent,
  bookOf,
  friend,
  next,
  open,
  other,
  owner,
  person,
  stranger,
  vouch,
  type Person,
} from './trust-desk.ts'

describe('credit', () => {
  it('is nothing without a vouch', async () => {
    const { trust, asked } = open()
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    expect(asked).toEqual([])
  })

  it('comes from the owner’s own vouch, capped, without asking anybody', async () => {
    const { trust, asked } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 0, 5), vouch(other, 0, 1000)]))
    expect(await trust.creditFor(friend.hex)).toEqual({
      credit: 5,
      vouches: [{ account: account(owner, friend), most: 5 }],
    })
    expect(await trust.creditFor(other.hex)).toEqual({
      credit: 64,
      vouches: [{ account: account(owner, other), most: 64 }],
    })
    expect(asked).toEqual([])
  })

  it('comes through a chain that the repository shows, charged to each vouch of it', async () => {
    const { trust } = open([{ by: friend, book: bookOf(friend, [vouch(stranger, 0, 7)]) }])
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    expect(await trust.creditFor(stranger.hex)).toEqual({
      credit: 7,
      vouches: [
        { account: account(owner, friend), most: 20 },
        { account: account(friend, stranger), most: 7 },
      ],
    })
    expect(await trust.verdict(stranger.hex)).toMatchObject({
      trusted: true,
      chain: [owner.hex, friend.hex, stranger.hex],
    })
  })

  it('does not come through a friend whose vouches do not count', async () => {
    const { trust } = open([{ by: friend, book: bookOf(friend, [vouch(stranger, 0, 7)]) }])
    await trust.putBook(bookOf(owner, [vouch(friend, 0, 20)]))
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
  })

  it('does not come through a forged chain, or one whose issuer is missing', async () => {
    const forged = { ...bookOf(friend, [vouch(stranger, 0, 7)]), vouches: [vouch(stranger, 4, 64)] }
    const impostor = bookOf({ ...friend, signer: stranger.signer }, [vouch(stranger, 0, 7)])
    for (const book of [forged, impostor]) {
      const { trust } = open([{ by: friend, book }])
      await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
      expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    }
    const { trust } = open([{ by: other, book: bookOf(friend, [vouch(stranger, 0, 7)]) }])
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
  })

  it('is not raised by an older book of the owner’s that the repository still shows', async () => {
    const old = bookOf(owner, [vouch(friend, 1, 20), vouch(stranger, 1, 20)])
    const { trust } = open([{ by: owner, book: old }])
    await trust.putBook(old)
    await trust.putBook(next(old, owner, [vouch(friend, 1, 20)]))
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
  })

  it('is left to direct vouches while the repository is away or talks nonsense', async () => {
    const { trust, repository } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    repository.away = true
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 20 })
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    repository.away = false
    repository.chains = async () => ({ identities: [[]], chains: [[{ vouch: 'x' } as never]] })
    expect(await trust.creditFor(other.hex)).toMatchObject({ credit: 0 })
  })

  it('is remembered for a moment, and forgotten when the owner changes their mind', async () => {
    const { trust, asked, clock } = open()
    const first = bookOf(owner, [vouch(friend, 1, 20)])
    await trust.putBook(first)
    await trust.creditFor(stranger.hex)
    await trust.creditFor(stranger.hex)
    expect(asked).toHaveLength(1)
    clock.advance(limits.verdictMs)
    await trust.creditFor(stranger.hex)
    expect(asked).toHaveLength(2)
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 20 })
    await trust.putBook(next(first, owner, []))
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 0 })
  })

  it('ends with the vouch', async () => {
    const { trust, clock } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 0, 5, { expires: START_MS + 1000 })]))
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 5 })
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 0 })
  })
})

describe('a repository that does not answer', () => {
  const chained = async () => {
    const opened = open([{ by: friend, book: bookOf(friend, [vouch(stranger, 0, 30)]) }])
    await opened.trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    expect(await opened.trust.creditFor(stranger.hex)).toMatchObject({ credit: 20 })
    opened.repository.away = true
    return opened
  }

  it('costs nothing for ten minutes, all above 8 pieces then, and after an hour all but the first hop', async () => {
    const { trust, clock } = await chained()
    const after = async (ms: number): Promise<number> => {
      clock.advance(ms)
      return (await trust.creditFor(stranger.hex)).credit
    }
    expect(await after(limits.freshMs - 5000)).toBe(20)
    expect(await after(10_000)).toBe(8)
    expect(await after(limits.staleMs - limits.freshMs - 10_000)).toBe(8)
    expect(await after(10_000)).toBe(0)
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 20 })
  })

  it('leaves what a subject carries, from whoever it comes, while the view is fresh', async () => {
    const { trust, repository } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await trust.maintain()
    repository.away = true
    const book = bookOf(friend, [vouch(stranger, 0, 7)])
    const carried = chainsToJson([friend.state], [[proveVouch(book, 0)]])
    expect(await trust.carry(stranger.hex, chainsToJson([friend.state], []))).toBe(0)
    expect(await trust.carry(stranger.hex, carried)).toBe(7)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
    expect(await trust.carry(other.hex, carried)).toBe(0)
    await trust.putDistrusted([friend.hex])
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
  })
})

describe('chains that anybody brings', () => {
  const chainOf = (by: Person, credit: number, subject = stranger) =>
    chainsToJson([by.state], [[proveVouch(bookOf(by, [vouch(subject, 0, credit)]), 0)]])

  /** The stranger's chain is worth 20, and the repository is away. */
  async function away() {
    const opened = open()
    const { trust, repository } = opened
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20), vouch(other, 1, 20)]))
    await trust.maintain()
    repository.away = true
    expect(await trust.carry(stranger.hex, chainOf(friend, 30))).toBe(20)
    return opened
  }

  it('take nothing from their subject, whether they show nothing or less than is known', async () => {
    const { trust, clock } = await away()
    for (const less of [{ identities: [], chains: [] }, chainsToJson([friend.state], []), chainOf(other, 1)]) {
      expect(await trust.carry(stranger.hex, less)).toBe(20)
      expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 20 })
      clock.advance(limits.verdictMs)
      expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 20 })
    }
  })

  it('count for nothing where they show the owner with keys that the owner knows nothing of', async () => {
    const { trust } = await away()
    const theirs = rotate(owner.state, [other.signer.key], START_MS, owner.signer)
    const taken = { ...owner, signer: other.signer, state: replay([owner.operation, theirs], START_MS) }
    const book = bookOf(taken, [vouch(other, 0, 64), vouch(person('third'), 0, 64)], 9, sha256(utf8('before')))
    const proofs = book.vouches.map((_, i) => proveVouch(book, i))
    expect(await trust.carry(person('third').hex, chainsToJson([taken.state], [proofs]))).toBe(0)
  })

  it('count where they show more', async () => {
    const { trust, clock } = await away()
    const third = person('third')
    expect(await trust.carry(third.hex, chainOf(other, 3, third))).toBe(3)
    expect(await trust.carry(third.hex, chainOf(friend, 7, third))).toBe(7)
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(third.hex)).toMatchObject({ credit: 7 })
  })

  it('take nobody’s place where they give their subject nothing', async () => {
    const { trust, clock } = await away()
    for (let i = 1; i < limits.chainsCarried; i++) {
      const one = person(`one ${i}`)
      expect(await trust.carry(one.hex, chainOf(friend, 1, one))).toBe(1)
    }
    expect(await trust.carry(person('nobody').hex, chainOf(friend, 30))).toBe(0)
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 20 })
  })
})

describe('distrust', () => {
  it('overrides every vouch, to an id and through it, and stays', async () => {
    const { trust, restart } = open([{ by: friend, book: bookOf(friend, [vouch(stranger, 0, 7)]) }])
    const first = bookOf(owner, [vouch(friend, 1, 20)])
    await trust.putBook(first)
    await trust.putDistrusted([friend.hex])
    for (const each of [trust, restart()]) {
      expect(await each.creditFor(friend.hex)).toMatchObject({ credit: 0 })
      expect(await each.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    }
    await trust.putBook(next(first, owner, [vouch(friend, 4, 64)]))
    expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 0 })
    expect(await restart().distrusted()).toEqual([friend.hex])
  })
})

describe('the owner’s book', () => {
  it('is kept whole, published, and published again when it comes again', async () => {
    const { trust, restart, published } = open()
    const book = bookOf(owner, [vouch(friend, 1, 20), vouch(other, 0, 1)])
    await trust.putBook(book)
    await trust.putBook(book)
    expect(published).toHaveLength(2)
    expect(await restart().book()).toEqual(book)
  })

  it('may be larger than an item of the store, and then smaller again', async () => {
    const { trust } = open()
    const many = Array.from({ length: 4000 }, (_, i) => vouch({ ...friend, id: sha256(utf8(String(i))) }, 0, 1))
    const large = bookOf(owner, many)
    await trust.putBook(large)
    expect(checkBook((await trust.book()) as Book).count).toBe(4000)
    await trust.putBook(next(large, owner, [vouch(friend, 0, 1)]))
    expect((await trust.book())?.vouches).toHaveLength(1)
  })

  it('is refused when it is not the owner’s, not whole, or not newer', async () => {
    const { trust } = open()
    const book = bookOf(owner, [vouch(friend, 1, 20)])
    await trust.putBook(next(book, owner, []))
    expect(await codeOf(trust.putBook(book))).toBe('conflict')
    expect(await codeOf(trust.putBook(next(book, owner, [vouch(other, 0, 1)])))).toBe('conflict')
    expect(await codeOf(trust.putBook(bookOf(friend, [], 0)))).toBe('unknown-key')
    const stolen = bookOf({ ...owner, signer: agent }, [vouch(stranger, 4, 64)], 9, sha256(utf8('before')))
    expect(await codeOf(trust.putBook(stolen))).toBe('unknown-key')
    expect(await codeOf(trust.putBook({ ...book, vouches: [vouch(stranger, 4, 64)] }))).toBe('bad-encoding')
    expect((await trust.book())?.vouches).toEqual([])
  })

  it('is kept though the repository did not take it', async () => {
    const { trust, repository, restart } = open()
    repository.away = true
    expect(await codeOf(trust.putBook(bookOf(owner, [vouch(friend, 1, 20)])))).toBe('peer-failed')
    expect(await restart().creditFor(friend.hex)).toMatchObject({ credit: 20 })
  })

  it('is not replaced by what a repository shows of another’s hand, of before, or renewed from before', async () => {
    const { trust, restart, published, context } = open()
    const first = bookOf(owner, [vouch(stranger, 4, 64)])
    const second = next(first, owner, [vouch(friend, 0, 5)])
    await trust.putBook(first)
    await trust.putBook(second)
    const times = { issued: START_MS, expires: START_MS + limits.bookMs }
    const renew = (book: Book) => renewBook(book, times, agent, context.delegation)
    const forged = bookOf({ ...owner, signer: agent }, first.vouches, 9, sha256(utf8('before')))
    for (const shown of [forged, first, renew(renew(first))]) {
      published.push(shown)
      expect(await restart().book()).toEqual(second)
    }
  })

  it('is asked for until the repository has answered, where the store was lost', async () => {
    const { trust, published, repository, clock } = open()
    const book = bookOf(owner, [vouch(friend, 1, 20)])
    published.push(book)
    repository.away = true
    expect(await trust.book()).toBeUndefined()
    repository.away = false
    clock.advance(limits.askAgainMs)
    expect(await trust.book()).toEqual(book)
  })

  it('is told to the repository when it is back, and before the next one', async () => {
    const { trust, repository, clock, published } = open()
    repository.away = true
    const first = bookOf(owner, [vouch(friend, 1, 20)])
    await codeOf(trust.putBook(first))
    expect(await codeOf(trust.maintain())).toBe('done')
    clock.advance(limits.askAgainMs)
    expect(await codeOf(trust.maintain())).toBe('peer-failed')
    repository.away = false
    const second = next(first, owner, [])
    await trust.putBook(second)
    expect(published).toEqual([first, second])
    clock.advance(limits.askAgainMs)
    await trust.maintain()
    expect(published).toHaveLength(2)
  })

  it('is renewed by the agent before it ends, its vouches unchanged', async () => {
    const { trust, clock, published } = open()
    await trust.maintain()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await trust.maintain()
    expect(published).toHaveLength(1)
    for (let i = 0; i < 4; i++) {
      clock.advance(limits.bookMs / 2)
      await trust.maintain()
      expect(await trust.creditFor(friend.hex)).toMatchObject({ credit: 20 })
    }
    expect(published.map(({ head }) => parseHead(head).seq)).toEqual([0, 1, 2, 3, 4])
  })

  it('is left to the owner once the key that signed it was put out', async () => {
    const { trust, clock, published, restart } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    const recovered = rotate(owner.state, [stranger.signer.key], START_MS, owner.signer)
    const again = restart([owner.operation, recovered])
    clock.advance(limits.bookMs / 2)
    expect(await codeOf(again.maintain())).toBe('done')
    expect(published).toHaveLength(1)
  })
})

describe('a verdict', () => {
  it('is the same for whatever the repository adds about others', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 100 })), { maxLength: 4 }),
        async (others) => {
          const crowd = others.map(([depth, credit], i) => ({ by: person(`crowd ${i}`), depth, credit }))
          const books = crowd.map(({ by, depth, credit }) => ({
            by,
            book: bookOf(by, [vouch(stranger, depth, credit)]),
          }))
          const { trust } = open(books)
          await trust.putBook(bookOf(owner, [vouch(friend, 2, 20)]))
          expect(await trust.verdict(stranger.hex)).toEqual({
            id: stranger.hex,
            trusted: false,
            depth: -1,
            credit: 0,
            chain: [],
          })
        },
      ),
      { numRuns: 20 },
    )
  })
})
