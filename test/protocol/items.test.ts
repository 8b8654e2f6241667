import { describe, expect, it } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { decideAndWrite, itemsOf, putAll, readAll, removeAll, type Put } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import type { Store } from '../../protocol/store.ts'
import { codeOf } from '../problems.ts'

const key = (n: number): string => String(n).padStart(4, '0')
const puts = (count: number, bytes: number): Put[] =>
  Array.from({ length: count }, (_, n) => ({ pk: 'many', sk: key(n), body: new Uint8Array(bytes).fill(n) }))
const keysOf = (store: Store, range = {}): Promise<string[]> => readAll(store, 'many', ({ sk }) => sk, range)

describe('items', () => {
  it('are read all, in order, however many there are', async () => {
    const store = openSqlite(':memory:')
    await putAll(store, puts(620, 1))
    const all = Array.from({ length: 620 }, (_, n) => key(n))
    expect(await keysOf(store)).toEqual(all)
    expect(await keysOf(store, { reverse: true })).toEqual(all.toReversed())
    expect(await keysOf(store, { prefix: '00', after: key(70) })).toEqual(all.slice(71, 100))
    expect(await keysOf(openSqlite(':memory:'))).toEqual([])
  })

  it('may be removed while they are read', async () => {
    const store = openSqlite(':memory:')
    await putAll(store, puts(620, 1))
    let seen = 0
    for await (const { pk, sk } of itemsOf(store, 'many')) {
      await store.write([{ pk, sk, expect: 1 }])
      seen++
    }
    expect(seen).toBe(620)
    expect(await keysOf(store)).toEqual([])
  })

  it('are written in writes that a store takes, keys counted', async () => {
    const store = openSqlite(':memory:')
    for (const bytes of [256 * 1024, limits.itemBytes, limits.writeBytes / limits.changesPerWrite]) {
      await putAll(store, puts(250, bytes))
      expect(await keysOf(store)).toHaveLength(250)
    }
  })

  it('are removed by the start of their keys', async () => {
    const store = openSqlite(':memory:')
    await putAll(store, puts(350, 1))
    await removeAll(store, 'many', '02')
    expect(await keysOf(store)).toHaveLength(250)
    await removeAll(store, 'many')
    expect(await keysOf(store)).toEqual([])
    await removeAll(store, 'many')
  })
})

describe('a write that goes by what was read', () => {
  const sum = (store: Store, between: () => Promise<unknown> = async () => undefined) =>
    decideAndWrite(store, async () => {
      const item = await store.get('sum', '')
      const result = (item?.body[0] ?? 0) + 1
      await between()
      return { changes: [{ pk: 'sum', sk: '', expect: item?.version ?? 0, body: Uint8Array.of(result) }], result }
    })

  it('is decided anew when another came between', async () => {
    const store = openSqlite(':memory:')
    let others = 3
    const another = async () => others-- > 0 && (await sum(store))
    expect(await sum(store, another)).toBe(4)
    expect((await store.get('sum', ''))?.body).toEqual(Uint8Array.of(4))
  })

  it('is given up when others keep coming', async () => {
    const store = openSqlite(':memory:')
    expect(await codeOf(sum(store, () => sum(store)))).toBe('store-unavailable')
  })

  it('writes nothing when there is nothing to do', async () => {
    const store = openSqlite(':memory:')
    expect(await decideAndWrite(store, async () => ({ changes: [], result: 7 }))).toBe(7)
  })
})
