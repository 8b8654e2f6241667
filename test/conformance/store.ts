/** What every store must do. A store's own test is one line: it names fresh places for this suite to open. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../infra/store/open.ts'
import { compare, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { Change, Range, Store } from '../../protocol/store.ts'
import { increment, numberIn, startWriter } from './store-writer.ts'

/** @param fresh a spec for `openStore` of a place that was never used; it may use the folder given */
export function describeStore(name: string, fresh: (folder: string) => string | Promise<string>): void {
  let folder: string
  let places = 0
  const opened: Store[] = []

  const freshSpec = async () => await fresh(join(folder, String(places++)))
  const openAt = async (spec: string) => {
    const store = await openStore(spec)
    opened.push(store)
    return store
  }
  const open: Open = async () => await openAt(await freshSpec())

  describe(`the store on ${name}`, () => {
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'raincheck-store-'))
    })
    afterEach(() => {
      for (const store of opened.splice(0)) store.close()
    })
    afterAll(async () => await rm(folder, { recursive: true }))

    describeItems(open)
    describeWrites(open)
    describeContention(open)
    describeAnyWrites(open)
    describeLists(open)
    describeLimits(open)
    describeProcesses(freshSpec, openAt)
  })
}

type Open = () => Promise<Store>

const put = (sk: string, expected: Change['expect'] = 'any', body = utf8('body')): Change => ({
  pk: 'p',
  sk,
  expect: expected,
  body,
})
const drop = (sk: string, expected: Change['expect'] = 'any'): Change => ({ pk: 'p', sk, expect: expected })
const keysOf = async (store: Store, range: Partial<Range> = {}) =>
  (await store.list('p', { limit: 1000, ...range })).map(({ sk }) => sk)

function describeItems(open: Open): void {
  test('gives back what was written, byte for byte', async () => {
    const store = await open()
    const bodies = [new Uint8Array(0), utf8(''), Uint8Array.of(0, 255, 0), new Uint8Array(limits.itemBytes).fill(7)]
    for (const [i, body] of bodies.entries()) {
      expect(await store.write([put(`${i}`, 0, body)])).toBe(true)
      expect(await store.get('p', `${i}`)).toEqual({ pk: 'p', sk: `${i}`, version: 1, body: new Uint8Array(body) })
    }
  })

  test('stores the part of a buffer that a view shows', async () => {
    const store = await open()
    await store.write([put('a', 0, utf8('xxbodyxx').subarray(2, 6))])
    expect((await store.get('p', 'a'))?.body).toEqual(utf8('body'))
  })

  test('knows nothing of what was never written', async () => {
    const store = await open()
    expect(await store.get('p', 'a')).toBeUndefined()
    expect(await store.list('p', { limit: 1 })).toEqual([])
  })

  test('gives back many that are asked for together, also twice, and knows which are not there', async () => {
    const store = await open()
    const names = Array.from({ length: 240 }, (_, i) => `${i % 230}`)
    const there = new Set(names.filter((name) => Number(name) % 3 > 0))
    await Promise.all(Array.from(there, (name) => store.write([put(name)])))
    const items = await Promise.all(names.map((name) => store.get('p', name)))
    expect(items.map((item) => item?.sk)).toEqual(names.map((name) => (there.has(name) ? name : undefined)))
  })

  test('keeps partitions apart', async () => {
    const store = await open()
    await store.write([
      { pk: 'p', sk: 'a', expect: 0, body: utf8('1') },
      { pk: 'pa', sk: '', expect: 0, body: utf8('2') },
    ])
    expect(await keysOf(store)).toEqual(['a'])
    expect((await store.get('pa', ''))?.body).toEqual(utf8('2'))
  })

  test('counts versions from 1, and from 1 again after a delete', async () => {
    const store = await open()
    const versions: (number | undefined)[] = []
    for (const change of [put('a', 0), put('a', 1), put('a'), drop('a', 3), put('a', 0), drop('a'), put('a')]) {
      expect(await store.write([change])).toBe(true)
      versions.push((await store.get('p', 'a'))?.version)
    }
    expect(versions).toEqual([1, 2, 3, undefined, 1, undefined, 1])
  })
}

function describeWrites(open: Open): void {
  test('refuses a write whose expected version is not there', async () => {
    const store = await open()
    await store.write([put('there', 0, utf8('first'))])
    const refused = [
      put('there', 0),
      put('there', 2),
      drop('there', 0),
      drop('there', 2),
      put('absent', 1),
      drop('absent', 1),
    ]
    for (const change of refused) expect(await store.write([change])).toBe(false)
    expect(await store.get('p', 'there')).toMatchObject({ version: 1, body: utf8('first') })
    expect(await keysOf(store)).toEqual(['there'])
  })

  test('takes "no such item" as a condition alone', async () => {
    const store = await open()
    expect(await store.write([drop('absent', 0), put('a', 0)])).toBe(true)
    expect(await store.write([drop('a', 0), put('b', 0)])).toBe(false)
    expect(await keysOf(store)).toEqual(['a'])
  })

  test('deletes what is not there without complaint, when nothing was expected', async () => {
    const store = await open()
    expect(await store.write([drop('absent')])).toBe(true)
  })

  test.each([0, 1, 2])('writes nothing at all when condition %i of three fails', async (failing) => {
    const store = await open()
    await store.write([put('0', 0), put('1', 0), put('2', 0)])
    const changes = ['0', '1', '2'].map((sk, i) => put(sk, i === failing ? 9 : 1, utf8('changed')))
    expect(await store.write(changes)).toBe(false)
    expect((await store.list('p', { limit: 9 })).map(({ version }) => version)).toEqual([1, 1, 1])
  })

  test('takes as many changes in one write as the limit says', async () => {
    const store = await open()
    const changes = Array.from({ length: limits.changesPerWrite }, (_, i) => put(String(i).padStart(3, '0'), 0))
    expect(await store.write(changes)).toBe(true)
    expect(await keysOf(store)).toHaveLength(limits.changesPerWrite)
  })

  test('takes as many bytes in one write as the limit says, and none more', async () => {
    const store = await open()
    const whole = Math.floor(limits.writeBytes / limits.itemBytes)
    const sizes = [...Array.from({ length: whole }, () => limits.itemBytes), limits.writeBytes % limits.itemBytes]
    // Each change has two keys of a byte.
    const bodies = sizes.map((size, i) => new Uint8Array(size - 2).fill(i))
    expect(await store.write(bodies.map((body, i) => put(`${i}`, 0, body)))).toBe(true)
    const items = await store.list('p', { limit: bodies.length + 1 })
    expect(items.map(({ body }) => body)).toEqual(bodies)
    const over = bodies.map((body, i) => put(`${i}`, 1, i === 0 ? new Uint8Array(body.length + 1) : body))
    await expect(store.write(over)).rejects.toMatchObject({ code: 'too-large' })
    expect((await store.get('p', '0'))?.version).toBe(1)
  })

  test('lets one of many writers that expect the same version win', async () => {
    const store = await open()
    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, i) => store.write([put('a', 0, utf8(`${i}`))])))
    expect(outcomes.filter(Boolean)).toHaveLength(1)
    expect((await store.get('p', 'a'))?.body).toEqual(utf8(`${outcomes.indexOf(true)}`))
  })
}

function describeContention(open: Open): void {
  test('loses no increment between many writers of one item', async () => {
    const store = await open()
    const writer = async () => {
      for (let done = 0; done < 10;) {
        const item = await store.get('p', 'a')
        const body = utf8(String(numberIn(item) + 1))
        if (await store.write([put('a', item?.version ?? 0, body)])) done += 1
      }
    }
    await Promise.all(Array.from({ length: 8 }, writer))
    expect(await store.get('p', 'a')).toMatchObject({ version: 80, body: utf8('80') })
  })

  test('loses no write without a condition', async () => {
    const store = await open()
    const bodies = Array.from({ length: 20 }, (_, i) => utf8(`${i}`))
    const outcomes = await Promise.all(bodies.map((body) => store.write([put('a', 'any', body)])))
    expect(outcomes).toEqual(bodies.map(() => true))
    expect(await store.get('p', 'a')).toMatchObject({ version: bodies.length })
  })
}

function describeAnyWrites(open: Open): void {
  test('holds against a model under any series of writes', async () => {
    const change = fc.record({
      sk: fc.constantFrom('a', 'b', 'c'),
      expected: fc.constantFrom('any', 0, 1, 2),
      drops: fc.boolean(),
    })
    const write = fc.uniqueArray(change, { minLength: 1, maxLength: 3, selector: ({ sk }) => sk })
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 12 }), async (writes) => {
        const store = await open()
        const model = new Map<string, number>()
        for (const changes of writes) {
          const holds = changes.every(({ sk, expected }) => expected === 'any' || (model.get(sk) ?? 0) === expected)
          const asked = changes.map(({ sk, expected, drops }) =>
            drops ? drop(sk, expected as 'any') : put(sk, expected as 'any'),
          )
          expect(await store.write(asked)).toBe(holds)
          if (!holds) continue
          for (const { sk, drops } of changes) {
            if (drops) model.delete(sk)
            else model.set(sk, (model.get(sk) ?? 0) + 1)
          }
        }
        const items = await store.list('p', { limit: 9 })
        expect(new Map(items.map(({ sk, version }) => [sk, version]))).toEqual(model)
      }),
      { numRuns: 25 },
    )
  })
}

function describeLists(open: Open): void {
  /** U+FF5E comes before U+1F600 in UTF-8, after it in UTF-16. */
  const ordered = [
    '',
    '!',
    'A',
    'Z',
    'a',
    'a!',
    'aa',
    'ab',
    'b',
    'é',
    '中',
    '\u{ff5e}',
    '\u{1f600}',
    '\u{1f600}a',
    '\u{10ffff}',
  ]

  async function filled(): Promise<Store> {
    const store = await open()
    await store.write(ordered.toReversed().map((sk) => put(sk, 0)))
    return store
  }

  test('lists by the bytes of the UTF-8, beyond the basic plane too', async () => {
    const store = await filled()
    expect(await keysOf(store)).toEqual(ordered)
    expect(await keysOf(store, { reverse: true })).toEqual(ordered.toReversed())
  })

  test('lists what starts with a prefix', async () => {
    const store = await filled()
    expect(await keysOf(store, { prefix: 'a' })).toEqual(['a', 'a!', 'aa', 'ab'])
    expect(await keysOf(store, { prefix: '\u{1f600}', reverse: true })).toEqual(['\u{1f600}a', '\u{1f600}'])
    expect(await keysOf(store, { prefix: '\u{10ffff}' })).toEqual(['\u{10ffff}'])
    expect(await keysOf(store, { prefix: 'none' })).toEqual([])
  })

  test('takes every character of a prefix for itself', async () => {
    const store = await open()
    const keys = ['%', '*', '?', '[a]', '\\', '_', 'a', "'"].toSorted()
    await store.write(keys.map((sk) => put(`${sk}x`, 0)))
    for (const prefix of keys) expect(await keysOf(store, { prefix })).toEqual([`${prefix}x`])
  })

  test('lists many megabytes', async () => {
    const store = await open()
    const keys = Array.from({ length: 8 }, (_, i) => `large ${i}`)
    const body = new Uint8Array(limits.itemBytes).fill(7)
    for (const sk of keys) await store.write([put(sk, 0, body), put(`small of ${sk}`, 0)])
    const prefix = 'large'
    expect(await keysOf(store)).toHaveLength(16)
    expect(await keysOf(store, { prefix })).toEqual(keys)
    expect(await keysOf(store, { prefix, reverse: true, limit: 7 })).toEqual(keys.toReversed().slice(0, 7))
    expect(await keysOf(store, { prefix, after: 'large 1', limit: 5 })).toEqual(keys.slice(2, 7))
  })

  test('goes on after a key, whether it is there or not', async () => {
    const store = await filled()
    expect(await keysOf(store, { after: 'ab', limit: 2 })).toEqual(['b', 'é'])
    expect(await keysOf(store, { after: 'aab', limit: 2 })).toEqual(['ab', 'b'])
    expect(await keysOf(store, { after: 'aa', reverse: true, limit: 2 })).toEqual(['a!', 'a'])
    expect(await keysOf(store, { after: '' })).toEqual(ordered.slice(1))
    expect(await keysOf(store, { after: '', reverse: true })).toEqual([])
  })

  test('lists any range as a sorted array would', async () => {
    const key = fc.string({ unit: 'grapheme', maxLength: 3 }).filter((text) => !text.includes('\0'))
    const range = fc.record(
      { prefix: key, after: key, reverse: fc.boolean(), limit: fc.integer({ min: 1, max: 9 }) },
      { requiredKeys: ['limit'] },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { minLength: 1, maxLength: 20 }),
        fc.array(range, { maxLength: 8 }),
        async (keys, ranges) => {
          const store = await open()
          await store.write(keys.map((sk) => put(sk, 0)))
          for (const asked of ranges) expect(await keysOf(store, asked)).toEqual(listed(keys, asked))
        },
      ),
      { numRuns: 25 },
    )
  })
}

function listed(keys: readonly string[], { prefix = '', after, reverse = false, limit }: Range): string[] {
  const direction = reverse ? -1 : 1
  const order = (a: string, b: string) => direction * compare(utf8(a), utf8(b))
  const wanted = keys.filter((key) => key.startsWith(prefix) && (after === undefined || order(key, after) > 0))
  return wanted.toSorted(order).slice(0, limit)
}

function describeLimits(open: Open): void {
  test('refuses a body or a key over its limit, with a problem', async () => {
    const store = await open()
    const body = new Uint8Array(limits.itemBytes + 1)
    await expect(store.write([put('ok', 0), put('big', 0, body)])).rejects.toMatchObject({ code: 'too-large' })
    await expect(store.write([put('k'.repeat(limits.keyBytes + 1), 0)])).rejects.toMatchObject({ code: 'too-large' })
    expect(await keysOf(store)).toEqual([])
    expect(await store.write([put('k'.repeat(limits.keyBytes), 0)])).toBe(true)
  })

  test('refuses a key that is not well-formed text or holds NUL', async () => {
    const store = await open()
    for (const sk of ['\ud800', 'a\0b']) {
      await expect(store.write([put(sk, 0)])).rejects.toMatchObject({ code: 'bad-encoding' })
      await expect(store.get('p', sk)).rejects.toMatchObject({ code: 'bad-encoding' })
      await expect(store.list('p', { after: sk, limit: 1 })).rejects.toMatchObject({ code: 'bad-encoding' })
      await expect(store.list('p', { prefix: sk, limit: 1 })).rejects.toMatchObject({ code: 'bad-encoding' })
    }
  })

  test('refuses no changes, too many, two of one item, and a limit that is none', async () => {
    const store = await open()
    const many = Array.from({ length: limits.changesPerWrite + 1 }, (_, i) => put(`${i}`, 0))
    await expect(store.write([])).rejects.toThrow(RangeError)
    await expect(store.write(many)).rejects.toThrow(RangeError)
    await expect(store.write([put('a'), drop('a')])).rejects.toThrow(RangeError)
    for (const limit of [0, -1, 0.5, Number.NaN]) await expect(store.list('p', { limit })).rejects.toThrow(RangeError)
    expect(await keysOf(store)).toEqual([])
  })
}

function describeProcesses(freshSpec: () => Promise<string>, openAt: (spec: string) => Promise<Store>): void {
  test('shows a write to everybody who has the place open', async () => {
    const spec = await freshSpec()
    const [one, other] = [await openAt(spec), await openAt(spec)]
    await one.write([put('a', 0)])
    expect(await other.get('p', 'a')).toMatchObject({ version: 1 })
    expect(await other.write([put('a', 0)])).toBe(false)
  })

  test('keeps what was acknowledged after it is closed and opened again', async () => {
    const spec = await freshSpec()
    const store = await openAt(spec)
    await store.write([put('a', 0)])
    store.close()
    store.close()
    expect(await keysOf(await openAt(spec))).toEqual(['a'])
  })

  test('loses no increment between processes that write the same item', async () => {
    const spec = await freshSpec()
    const writers = [0, 1, 2].map(() => startWriter(spec, { pk: 'shared', writes: 40 }))
    const store = await openAt(spec)
    for (let i = 0; i < 40; i++) await increment(store, 'shared')
    const codes = await Promise.all(writers.map(({ ended }) => ended))
    expect(codes).toEqual([0, 0, 0])
    expect(numberIn(await store.get('shared', 'a'))).toBe(160)
    expect(numberIn(await store.get('shared', 'b'))).toBe(160)
  })

  test('holds every acknowledged write, and whole writes only, after its process is killed', async () => {
    const spec = await freshSpec()
    let before = 0
    for (const writesBeforeKill of [1, 7, 23, 60]) {
      const acknowledged = await startWriter(spec, { pk: 'killed', writes: Infinity }).killAfter(writesBeforeKill)
      const store = await openAt(spec)
      const a = numberIn(await store.get('killed', 'a'))
      expect(a).toBeGreaterThanOrEqual(Math.max(acknowledged, before + writesBeforeKill))
      expect(numberIn(await store.get('killed', 'b'))).toBe(a)
      expect((await store.list('log', { limit: 100_000 })).length).toBe(a)
      before = a
    }
  })
}
