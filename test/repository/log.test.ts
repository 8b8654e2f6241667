import { describe, expect, it } from 'vitest'
import { readRecord } from '../../protocol/book-log.ts'
import { fromUtf8, toHex } from '../../protocol/bytes.ts'
import {
  followLog,
  frontierAt,
  isSplitView,
  readSeen,
  type LogKeys,
  type LogReader,
} from '../../protocol/follow-log.ts'
import { EMPTY_FRONTIER } from '../../protocol/merkle.ts'
import { parseHead } from '../../protocol/vouch.ts'
import { createFaultyStore, WRITE_FAULTS } from '../faults/faulty-store.ts'
import { coded } from '../problems.ts'
import { stores, testRepository, type TestRepository } from './kit.ts'
import { bookOf, NOW, person, vouchFor } from './people.ts'

const [ann, bob] = [person(1), person(2)]

const readerOf = (repository: TestRepository): LogReader => ({
  checkpoint: async () => fromUtf8((await repository.get('/checkpoint')).bytes),
  tile: async (path) => (await repository.get(`/${path}`)).bytes,
})

async function keysOf(repository: TestRepository): Promise<LogKeys> {
  const { json } = await repository.get('/v1/repository')
  return { vkey: String(json['vkey']), timeKeys: [String(json['timeKey'])] }
}

async function follow(repository: TestRepository, from = EMPTY_FRONTIER) {
  const log = readerOf(repository)
  const seen = readSeen(await log.checkpoint(), await keysOf(repository))
  return { seen, ...(await followLog(log, from, seen)) }
}

/** So many books of ann's, each with bob or without. */
async function publish(repository: TestRepository, count: number): Promise<void> {
  let before = bookOf(ann, [])
  await repository.putBook(ann, before)
  for (let seq = 1; seq < count; seq++) {
    before = bookOf(ann, seq % 2 === 1 ? [vouchFor(bob.id)] : [], { seq, prev: parseHead(before.head).id })
    expect(await repository.putBook(ann, before)).toMatchObject({ status: 201 })
  }
}

describe('the log', () => {
  it('is there before anything is in it', async () => {
    const { seen, entries } = await follow(testRepository())
    expect(seen).toMatchObject({ size: 0, timeMs: NOW })
    expect(entries).toEqual([])
  })

  it('holds every operation and every book that was taken, in order, and nothing else', async () => {
    const repository = testRepository()
    await repository.register(ann, bob, ann)
    await publish(repository, 5)
    await repository.putBook(ann, bookOf(ann, []))
    const records = (await follow(repository)).entries.map(readRecord)
    expect(records.map((record) => record?.kind)).toEqual(['identity', 'identity', ...Array(5).fill('book')])
    const seqs = records.flatMap((record) => (record?.kind === 'book' ? [parseHead(record.book.head).seq] : []))
    expect(seqs).toEqual([0, 1, 2, 3, 4])
  })

  it('says once of an id that the repository stands by it no longer', async () => {
    const repository = testRepository()
    expect([await repository.prune(ann.id), await repository.prune(ann.id)]).toEqual([true, false])
    const { entries } = await follow(repository)
    expect(entries.map(readRecord)).toMatchObject([{ kind: 'prune', subject: ann.id }])
  })

  it('grows over the sizes of tiles, and is followed from any of its ages', async () => {
    const repository = testRepository()
    await repository.register(ann, bob)
    let at = (await follow(repository)).frontier
    await publish(repository, 300)
    const later = await follow(repository, at)
    expect(later.entries).toHaveLength(300)
    at = await frontierAt(readerOf(repository), later.seen)
    expect(at).toEqual(later.frontier)
    expect(later.frontier.size).toBe(302)
    expect((await repository.get('/tile/0/000')).bytes).toHaveLength(256 * 32)
    expect(await repository.get('/tile/0/001.p/47')).toMatchObject({ status: 404 })
  })

  it('tells the age of a checkpoint that is shown again', async () => {
    const repository = testRepository()
    await repository.register(ann)
    const keys = await keysOf(repository)
    const old = await readerOf(repository).checkpoint()
    repository.setNow(NOW + 3_600_000)
    expect(readSeen(old, keys).timeMs).toBe(NOW)
    expect(readSeen(await readerOf(repository).checkpoint(), keys).timeMs).toBe(NOW + 3_600_000)
    expect(() => readSeen(old.replace(/\n/, 'x\n'), keys)).toThrow(coded('bad-signature'))
  })

  it('that is shown to two in two histories proves it by itself', async () => {
    const [one, other] = [testRepository(), testRepository()]
    await one.register(ann)
    await other.register(bob)
    // Both have the key: it is one repository, with two faces.
    const [keys, a, b] = [await keysOf(one), await readerOf(one).checkpoint(), await readerOf(other).checkpoint()]
    expect(isSplitView(a, b, keys)).toBe(true)
    expect(isSplitView(a, a, keys)).toBe(false)
    await one.register(bob)
    expect(isSplitView(a, await readerOf(one).checkpoint(), keys)).toBe(false)
    other.setNow(NOW + 600_000)
    expect(isSplitView(await readerOf(one).checkpoint(), await readerOf(other).checkpoint(), keys)).toBe(true)
  })

  it('whose entries are not those of its checkpoint is refused', async () => {
    const repository = testRepository()
    await repository.register(ann, bob)
    const log = readerOf(repository)
    const seen = readSeen(await log.checkpoint(), await keysOf(repository))
    const lying: LogReader = { ...log, tile: async (path) => (await log.tile(path)).map((byte) => byte ^ 1) }
    await expect(followLog(lying, EMPTY_FRONTIER, seen)).rejects.toThrow(coded('bad-encoding'))
    await expect(frontierAt(lying, seen)).rejects.toThrow(coded('peer-failed'))
  })

  it('has each acknowledged book, whichever write fails', async () => {
    const store = createFaultyStore(stores.open())
    const repository = testRepository({}, store)
    await repository.register(ann, bob)
    let before = bookOf(ann, [])
    const acknowledged: string[] = []
    for (let seq = 0; seq < 60; seq++) {
      const book = seq === 0 ? before : bookOf(ann, [], { seq, prev: parseHead(before.head).id })
      const failing = store.writes() + (seq % 3)
      store.setFaults((write) => (write === failing ? WRITE_FAULTS[seq % 2] : undefined))
      let { status } = await repository.putBook(ann, book)
      while (status >= 500) ({ status } = await repository.putBook(ann, book))
      expect(status).toBeLessThan(300)
      acknowledged.push(toHex(parseHead(book.head).id))
      before = book
    }
    const logged = (await follow(repository)).entries
      .map(readRecord)
      .flatMap((record) => (record?.kind === 'book' ? [toHex(parseHead(record.book.head).id)] : []))
    expect(logged).toEqual(acknowledged)
  })
})
