import { describe, expect, it } from 'vitest'
import { toHex } from '../../protocol/bytes.ts'
import { bookFromJson, checkBook, parseHead, type Book, type BookJson } from '../../protocol/vouch.ts'
import { createFaultyStore, WRITE_FAULTS } from '../faults/faulty-store.ts'
import { announcementOf, content, contentOf, stores, testRepository, type TestRepository } from './kit.ts'
import { bookOf, DAY, NOW, numbered, person, vouchFor } from './people.ts'

const [ann, bob] = [person(1), person(2)]
const many = (count: number, seed: number) => Array.from({ length: count }, (_, i) => vouchFor(numbered(seed, i)))
const small = bookOf(ann, many(3, 7))
const large = bookOf(ann, many(1200, 8), { seq: 1, prev: parseHead(small.head).id })
const folder = contentOf(
  'folder of files',
  Array.from({ length: 300 }, (_, i) => ({ path: [String(i).padStart(3, '0')], bytes: content(i + 1, i) })),
)

interface Deed {
  /** When it is done. */
  readonly atMs: number
  prepare: (repository: TestRepository) => Promise<unknown>
  act: (repository: TestRepository) => Promise<{ readonly status: number }>
  /** Whole, or as before: `done` is whether it was acknowledged. */
  check: (repository: TestRepository, done: boolean) => Promise<void>
}

const bookNow = async (repository: TestRepository): Promise<Book> =>
  bookFromJson((await repository.get(`/v1/books/${toHex(ann.id)}`)).json['book'] as BookJson)

const DEEDS: Readonly<Record<string, Deed>> = {
  'a book that follows': {
    atMs: NOW,
    prepare: (repository) => repository.putBook(ann, small),
    act: (repository) => repository.putBook(ann, large),
    async check(repository, done) {
      const book = await bookNow(repository)
      checkBook(book)
      expect([0, 1].slice(done ? 1 : 0)).toContain(parseHead(book.head).seq)
    },
  },
  'a torrent': {
    atMs: NOW,
    prepare: async () => {},
    act: (repository) => repository.putTorrent(folder),
    async check(repository, done) {
      const { status, bytes } = await repository.get(`/v1/contents/${folder.infoHash}/torrent`)
      if (done) expect(status).toBe(200)
      if (status === 200) expect(bytes).toEqual(folder.torrent)
      else expect(status).toBe(404)
    },
  },
  'an announcement': {
    atMs: NOW,
    prepare: (repository) => repository.putTorrent(folder),
    act: (repository) => repository.announce(ann, folder),
    async check(repository, done) {
      const { json } = await repository.get(`/v1/contents/${folder.infoHash}/swarm`)
      const found = await repository.search('folder')
      expect(found).toHaveLength((json['sellers'] as unknown[]).length)
      if (done) expect(json['sellers']).toEqual([announcementOf(ann, folder)])
    },
  },
  'a sweep': {
    atMs: NOW + 31 * DAY,
    async prepare(repository) {
      await repository.putTorrent(folder)
      await repository.announce(ann, folder)
      await repository.announce(bob, folder)
    },
    act: async (repository) => ({
      status: await repository.maintain().then(
        () => 200,
        () => 503,
      ),
    }),
    async check(repository, done) {
      expect(await repository.search('folder')).toEqual([])
      if (!done) return
      for (const pk of [`content/${folder.infoHash}`, `swarm/${folder.infoHash}`, 'word/f', 'word/o']) {
        expect(await repository.store.list(pk, { limit: 9 })).toEqual([])
      }
    },
  },
}

describe.each(Object.entries(DEEDS))('%s', (_, { atMs, prepare, act, check }) => {
  it.each(WRITE_FAULTS)(
    'that a store leaves %s in any of its writes is whole or not there, and is done when asked again',
    async (fault) => {
      for (let failing = 0; ; failing++) {
        const store = createFaultyStore(stores.open())
        const repository = testRepository({}, store)
        await repository.register(ann, bob)
        await prepare(repository)
        repository.setNow(atMs)
        const before = store.writes()
        store.setFaults((write) => (write - before === failing ? fault : undefined))
        const { status } = await act(repository)
        const isOver = store.writes() - before <= failing
        expect(status).toBe(isOver ? status : 503)
        store.setFaults(() => undefined)
        await check(repository, isOver)
        if (isOver) {
          expect(failing).toBeGreaterThan(0)
          return
        }
        expect((await act(repository)).status).toBeLessThan(300)
        await check(repository, true)
        expect((await act(repository)).status).toBe(200)
      }
    },
  )

  it('of a process that is gone in the middle is whole or not there for the next one', async () => {
    for (let failing = 0; failing < 4; failing++) {
      const inner = stores.open()
      const store = createFaultyStore(inner)
      const first = testRepository({}, store)
      await first.register(ann, bob)
      await prepare(first)
      first.setNow(atMs)
      const before = store.writes()
      store.setFaults((write) => {
        if (write - before < failing) return undefined
        store.kill()
        return 'lost'
      })
      await act(first)
      const next = testRepository({}, inner)
      next.setNow(atMs)
      await check(next, false)
      expect((await act(next)).status).toBeLessThan(300)
      await check(next, true)
    }
  })
})
