import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import type { RepositoryBreach } from '../../agent/trust/log-view.ts'
import { bookEntry, readRecord } from '../../protocol/book-log.ts'
import { fromBase64url, fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { chainsToJson } from '../../protocol/chain.ts'
import { noteKey, openNote, parseCheckpoint } from '../../protocol/checkpoint.ts'
import { delegate } from '../../protocol/delegation.ts'
import { genesis, replay, rotate } from '../../protocol/identity.ts'
import { readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { leafHash, verifyInclusion } from '../../protocol/merkle.ts'
import { issueReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { parseHead, proveVouch, renewBook, type Book } from '../../protocol/vouch.ts'
import { START_MS } from './hand-clock.ts'
import { bookOf, friend, next, open, other, owner, person, stranger, vouch, type Person } from './trust-desk.ts'

const HOUR_MS = 3_600_000

/** @returns the entry that was hidden, which is in the repository's log */
function includedEntry(breach: Extract<RepositoryBreach, { kind: 'hidden-revocation' }>): Bytes {
  const key = noteKey('repository.example', signerFrom(sha256(utf8('repository'))).key)
  const { rootHash, size } = parseCheckpoint(openNote(breach.note, [key]).text)
  const [entry, proof] = [fromBase64url(breach.entry), breach.proof.map((hash) => fromBase64url(hash))]
  expect(verifyInclusion(breach.index, size, leafHash(entry), proof, rootHash)).toBe(true)
  return entry
}

describe('a repository that shows what its log has revoked', () => {
  it('is not believed, and what it hid is proven offline', async () => {
    const book = bookOf(friend, [vouch(stranger, 0, 7)])
    const { trust, record, clock } = open([{ by: friend, book }])
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await record(book)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
    await record(next(book, friend, []))
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    const [breach, ...others] = await trust.breaches()
    expect(others).toEqual([])
    if (breach?.kind !== 'hidden-revocation') throw new Error('there is no such breach')
    const logged = readRecord(includedEntry(breach))
    if (logged?.kind !== 'book') throw new Error('the entry is no book')
    expect(parseHead(logged.book.head).seq).toBeGreaterThan(parseHead(envelopeFromJson(breach.shown)).seq)
  })

  it('is not believed by an agent whose clock was set back either', async () => {
    const book = bookOf(friend, [vouch(stranger, 0, 7)])
    const { trust, record, clock } = open([{ by: friend, book }])
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await record(book)
    clock.advance(HOUR_MS)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
    clock.advance(-HOUR_MS)
    await record(next(book, friend, []))
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
  })

  it('carried by its subject, is refused as well, and nobody is to blame', async () => {
    const book = bookOf(friend, [vouch(stranger, 0, 7)])
    const { trust, record } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await record(next(book, friend, []))
    expect(await trust.carry(stranger.hex, chainsToJson([friend.state], [[proveVouch(book, 0)]]))).toBe(0)
    expect(await trust.breaches()).toEqual([])
  })
})

describe('a repository that shows another history than before', () => {
  it.each([
    ['a little longer', 2],
    ['longer than is followed', limits.entriesFollowed + 64],
  ])(
    '%s, is caught by an agent that was started anew, and not believed again when it takes it back',
    async (_, entries) => {
      const book = bookOf(friend, [vouch(stranger, 0, 7)])
      const [{ trust, restart, record, context, clock }, elsewhere] = [open([{ by: friend, book }]), open()]
      await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
      await record(book)
      expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
      for (let i = 0; i < entries; i += 64)
        await elsewhere.prune(...Array.from({ length: Math.min(64, entries) }, () => other))
      const maintain = async () => {
        clock.advance(limits.verdictMs)
        const started = restart()
        await started.maintain()
        return started
      }
      const { repository } = context
      const first = { ...repository }
      Object.assign(repository, elsewhere.context.repository)
      await maintain()
      Object.assign(repository, first)
      const after = await maintain()
      expect(await after.breaches()).toMatchObject([{ kind: 'fork' }])
      expect(await after.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    },
  )
})

describe('a repository that takes a book and leaves it out of its log', () => {
  it('is found out by a checkpoint of later, though the log has the book before', async () => {
    const { trust, record, prune, context, clock } = open()
    const { repository } = context
    const first = bookOf(owner, [vouch(friend, 1, 20)])
    await trust.putBook(first)
    await record(first)
    await trust.maintain()
    const second = next(first, owner, [])
    const terms = { entry: leafHash(bookEntry(second, START_MS)), mergeDelay: limits.mergeDelayMs, time: START_MS }
    const ledger = fromHex((await repository.info()).id)
    const receipt = issueReceipt({ ...terms, ledger }, signerFrom(sha256(utf8('repository'))))
    Object.assign(repository, { putBook: () => Promise.resolve(receipt) })
    await trust.putBook(second)
    const honest = { ...repository }
    const note = await repository.checkpoint()
    Object.assign(repository, { checkpoint: () => Promise.resolve(note) })
    clock.advance(limits.verdictMs)
    await trust.maintain()
    expect(await trust.breaches()).toEqual([])
    Object.assign(repository, { checkpoint: () => honest.checkpoint() })
    await prune(stranger)
    clock.advance(limits.verdictMs)
    await trust.maintain()
    expect(await trust.breaches()).toMatchObject([{ kind: 'dropped-book' }])
  })
})

describe('a host that renews an older book of its owner’s than the newest', () => {
  const host = person('host').signer
  const caps = { day: 0n, total: 0n, issued: START_MS, expires: START_MS + limits.delegationMs }
  const delegation = delegate({ ...caps, agent: host.key, owner: friend.id, may: ['announce'] }, friend.signer)
  const old = bookOf(friend, [vouch(stranger, 0, 7)])
  const times = { issued: START_MS, expires: START_MS + limits.bookMs }
  const carry = (book: Book) => chainsToJson([friend.state], [[proveVouch(book, 0)]])

  it('brings back nobody whom the owner has taken out, whatever number it takes', async () => {
    const { trust, record, repository } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await record(old)
    await record(next(old, friend, []))
    await trust.maintain()
    repository.away = true
    let renewed = old
    for (let i = 0; i < 5; i++) renewed = renewBook(renewed, times, host, delegation)
    expect(await trust.carry(stranger.hex, carry(renewed))).toBe(0)
    expect(await trust.breaches()).toEqual([])
  })

  it('is believed where the log has not gone on since, or only by renewals', async () => {
    const { trust, record, repository } = open()
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await record(old)
    const renewed = renewBook(old, times, host, delegation)
    await record(renewed)
    await trust.maintain()
    repository.away = true
    const again = renewBook(renewed, times, host, delegation)
    expect(await trust.carry(stranger.hex, carry(again))).toBe(7)
  })
})

describe('a key that the log has rotated out', () => {
  const thief = stranger
  const [recovery, changed] = [person('recovery').signer, person('changed').signer]
  const first = genesis([recovery, friend.signer], START_MS)
  const state = replay([first], START_MS)
  const voucher: Person = { ...friend, id: state.id, hex: toHex(state.id), operation: first, state }
  const before = bookOf(voucher, [vouch(other, 0, 5)])
  /** The next book, in the hand of who has the old key, and who shows the keys of before. */
  const stolen = chainsToJson([state], [[proveVouch(next(before, voucher, [vouch(thief, 0, 30)]), 0)]])

  async function rotatedOut() {
    const opened = open()
    const { trust, record, recordKeys, clock } = opened
    await trust.putBook(bookOf(owner, [vouch(voucher, 1, 20)]))
    await recordKeys(first)
    await record(before)
    await trust.maintain()
    await recordKeys(rotate(state, [recovery.key, changed.key], START_MS, friend.signer, 0, 1))
    clock.advance(limits.verdictMs)
    await trust.maintain()
    return opened
  }

  it('is all that is kept of keys: of who only registers, nothing', async () => {
    const { trust, store, recordKeys, clock } = await rotatedOut()
    const known = () => readAll(store, 'repository-log', ({ sk }) => sk, { prefix: 'identity/' })
    expect(await known()).toHaveLength(1)
    for (let i = 0; i < 20; i++) await recordKeys(person(`stranger ${i}`).operation)
    clock.advance(limits.verdictMs)
    await trust.maintain()
    expect(await known()).toHaveLength(1)
  })

  it('vouches no more in what a subject carries while the repository is away', async () => {
    const { trust, repository } = await rotatedOut()
    repository.away = true
    expect(await trust.carry(thief.hex, stolen)).toBe(0)
    expect(await trust.breaches()).toEqual([])
  })

  it('vouches no more where the repository leaves the change out, which is proven offline', async () => {
    const { trust, repository } = await rotatedOut()
    repository.chains = async () => stolen
    expect(await trust.creditFor(thief.hex)).toMatchObject({ credit: 0 })
    const [breach, ...others] = await trust.breaches()
    expect(others).toEqual([])
    if (breach?.kind !== 'hidden-revocation') throw new Error('there is no such breach')
    expect(breach.shown).toEqual(envelopeToJson(first))
    expect(readRecord(includedEntry(breach))).toMatchObject({ kind: 'identity' })
  })

  it('vouches no more where the log has its first operation once again', async () => {
    const { trust, repository, recordKeys, clock } = await rotatedOut()
    await recordKeys(first)
    clock.advance(limits.verdictMs)
    repository.chains = async () => stolen
    expect(await trust.creditFor(thief.hex)).toMatchObject({ credit: 0 })
  })

  it('leaves the books of before to vouch, and those of the new key', async () => {
    const { trust, repository, clock } = await rotatedOut()
    const after = rotate(state, [recovery.key, changed.key], START_MS, friend.signer, 0, 1)
    const now = replay([first, after], START_MS)
    repository.chains = async () => chainsToJson([now], [[proveVouch(before, 0)]])
    expect(await trust.creditFor(other.hex)).toMatchObject({ credit: 5 })
    const anew = next(before, { ...voucher, signer: changed }, [vouch(other, 0, 7)])
    repository.chains = async () => chainsToJson([now], [[proveVouch(anew, 0)]])
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(other.hex)).toMatchObject({ credit: 7 })
    expect(await trust.breaches()).toEqual([])
  })

  it('is not held against what may have overridden the change, unseen, before the log was begun anew', async () => {
    const { trust, repository, recordKeys, prune, clock } = await rotatedOut()
    const override = rotate(state, [recovery.key], START_MS, recovery, 0, 1)
    await recordKeys(override)
    for (let i = 0; i < limits.entriesFollowed; i += 64) await prune(...Array.from({ length: 64 }, () => stranger))
    clock.advance(limits.verdictMs)
    const now = replay([first, override], START_MS)
    repository.chains = async () => chainsToJson([now], [[proveVouch(before, 0)]])
    expect(await trust.creditFor(other.hex)).toMatchObject({ credit: 5 })
    expect(await trust.breaches()).toEqual([])
  })
})

describe('an id that the repository prunes', () => {
  it('is distrusted by who follows the repository in that, and by nobody else', async () => {
    const { trust, prune, clock } = open([{ by: friend, book: bookOf(friend, [vouch(stranger, 0, 7)]) }])
    await trust.putBook(bookOf(owner, [vouch(friend, 1, 20)]))
    await prune(stranger)
    clock.advance(limits.verdictMs)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
    await trust.followPrunes(true)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 0 })
    expect(await trust.distrusted()).toEqual([])
    await trust.followPrunes(false)
    expect(await trust.creditFor(stranger.hex)).toMatchObject({ credit: 7 })
  })
})
