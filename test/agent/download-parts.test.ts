import { describe, expect, it, test } from 'vitest'
import { Problem } from '../../protocol/problem.ts'
import type { ByteRange, Storage } from '../../agent/storage/storage.ts'
import type { Store } from '../../protocol/store.ts'
import { createChance } from '../simulation/chance.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { contentOf, bytesOf, filmOf, PIECE_BYTES, type Content } from './bazaar-content.ts'

type Kind = Pick<Storage, 'writes' | 'partBytes'>

const KINDS: readonly (readonly [string, Kind])[] = [
  ['whole parts of four pieces in any order', { writes: 'any-order', partBytes: 4 * PIECE_BYTES }],
  ['whole parts of four pieces in order', { writes: 'in-order', partBytes: 4 * PIECE_BYTES }],
  ['parts of a quarter piece in order', { writes: 'in-order', partBytes: PIECE_BYTES / 4 }],
]
const FOLDER = contentOf(
  'folder',
  {
    'a.txt': bytesOf(7),
    'b/c.bin': bytesOf(PIECE_BYTES * 6 + 5, 1),
    'd.txt': bytesOf(0),
    'e.bin': bytesOf(PIECE_BYTES * 9, 2),
  },
  true,
)

/** Refuses what a provider of that kind refuses. */
function strict(storage: Storage, { writes, partBytes }: Kind): Storage {
  return {
    ...storage,
    writes,
    partBytes,
    wholeParts: true,
    async put(write, offset, part) {
      const held = await storage.written(write)
      const end = Math.min(write.size, offset - (offset % partBytes) + partBytes)
      const isPart = offset + part.length === end && (offset % partBytes === 0 || writes === 'in-order')
      const isNext = writes === 'any-order' || offset === endOf(held)
      if (!isPart || !isNext) throw new Problem('range-invalid', `${offset}+${part.length} is not what comes next.`)
      await storage.put(write, offset, part)
    },
  }
}

const endOf = (held: readonly ByteRange[]): number => (held[0]?.offset === 0 ? held[0].length : 0)

async function expectRight(bazaar: Bazaar, content: Content, buyer: Buyer): Promise<void> {
  expect(new Map([...bazaar.disk.files].map(([name, { bytes }]) => [name, bytes]))).toEqual(content.files)
  expect(buyer.faults).toEqual([])
}

/** Runs a download whose process dies at its `at`th durable write, and starts it again. @returns whether it died */
async function dieAt(at: number, after: boolean, content: Content, kind: Kind): Promise<boolean> {
  const bazaar = await openBazaar(content)
  const stand = await bazaar.stand('anna', { price: 2n })
  const wrapStorage = (storage: Storage): Storage => strict(storage, kind)
  const state = { writes: 0, isDead: false }
  const mortal = (inner: Store): Store => ({
    ...inner,
    async write(changes) {
      if (++state.writes !== at) return inner.write(changes)
      if (after) await inner.write(changes)
      state.isDead = true
      first.kill()
      return new Promise<never>(() => undefined)
    },
  })
  const first = await bazaar.buyer({ wrapStore: mortal, wrapStorage })
  let started: string | undefined
  void first.downloads.start({ source: content.infoHash }).then(({ id }) => (started = id))
  const isDone = async (id: string): Promise<boolean> => (await first.downloads.get(id))?.state === 'done'
  await bazaar.until(async () => state.isDead || (started !== undefined && (await isDone(started))))
  if (!state.isDead) return false
  const second = await bazaar.buyer({ wrapStorage })
  void second.downloads.resumeAll()
  await bazaar.pass(1)
  const [known] = await second.downloads.list()
  const { id } = known ?? (await bazaar.happen(second.downloads.start({ source: content.infoHash })))
  const cost = BigInt(content.meta.pieces) * 2n
  expect(await second.rest(id), `death ${at}`).toMatchObject({ state: 'done', ticks: content.meta.pieces, paid: cost })
  expect(await stand.earned()).toBe(cost)
  await expectRight(bazaar, content, second)
  return true
}

describe.each(KINDS)('a storage that takes %s', (_, kind) => {
  const wrapStorage = (storage: Storage): Storage => strict(storage, kind)

  it.each([
    ['a file of many pieces', filmOf(70)],
    ['a file of one piece', filmOf(1)],
    ['a folder', FOLDER],
  ])('gets %s, each piece paid once, and nothing stays in the spool', async (__, content) => {
    const bazaar = await openBazaar(content)
    for (const name of ['anna', 'berta', 'cleo']) await bazaar.stand(name)
    const buyer = await bazaar.buyer({ wrapStorage })
    const download = await buyer.fetch()
    expect(download).toMatchObject({ state: 'done', ticks: content.meta.pieces })
    await expectRight(bazaar, content, buyer)
    expect(await buyer.available()).toBe(FAUCET - BigInt(content.meta.pieces))
    expect(await buyer.context.store.list(`download/${download.id}`, { limit: 9 })).toEqual([])
  })

  it.each([
    ['before', false],
    ['after', true],
  ])('loses nothing that is paid in a crash %s any durable write', async (__, after) => {
    let deaths = 0
    // Every other write: where one dies before it, the other dies after it.
    for (let at = after ? 2 : 1; await dieAt(at, after, filmOf(6), kind); at += 2) deaths++
    expect(deaths).toBeGreaterThan(6)
  })

  it('loses nothing that is paid in crashes at any moment, with several sellers', async () => {
    for (const seed of ['a', 'b', 'c']) {
      const content = filmOf(60)
      const bazaar = await openBazaar(content, seed)
      const stands = [await bazaar.stand('anna'), await bazaar.stand('berta')]
      const chance = createChance(seed)
      let buyer = await bazaar.buyer({ wrapStorage })
      const { id } = await bazaar.happen(buyer.downloads.start({ source: content.infoHash }))
      for (let deaths = 0; deaths < 8; deaths++) {
        await bazaar.pass(chance.integer(1, 120))
        buyer = await bazaar.buyer({ wrapStorage })
        void buyer.downloads.resumeAll()
      }
      expect(await buyer.rest(id)).toMatchObject({ state: 'done', ticks: 60, paid: 60n })
      expect((await Promise.all(stands.map((stand) => stand.earned()))).reduce((sum, n) => sum + n, 0n)).toBe(60n)
      await expectRight(bazaar, content, buyer)
    }
  })
})

test('what the spool holds is bounded by the window', async () => {
  const content = filmOf(200)
  const bazaar = await openBazaar(content)
  for (const name of ['anna', 'berta', 'cleo']) await bazaar.stand(name)
  const kept = new Set<string>()
  let most = 0
  const buyer = await bazaar.buyer({
    wrapStorage: (storage) => strict(storage, { writes: 'in-order', partBytes: 8 * PIECE_BYTES }),
    wrapStore: (store) => ({
      ...store,
      write(changes) {
        for (const { sk, body } of changes) if (sk.startsWith('spool/')) kept[body ? 'add' : 'delete'](sk)
        most = Math.max(most, kept.size)
        return store.write(changes)
      },
    }),
  })
  expect(await buyer.fetch()).toMatchObject({ state: 'done' })
  expect(most).toBeGreaterThan(0)
  expect(most).toBeLessThanOrEqual(6 * 8)
  await expectRight(bazaar, content, buyer)
})
