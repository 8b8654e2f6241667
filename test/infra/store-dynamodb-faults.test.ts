import { Agent } from 'node:http'
import type { LookupFunction } from 'node:net'
import { DeleteTableCommand, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { createClient } from '../../infra/store/dynamodb-table.ts'
import { openDynamodb, type DynamodbOptions } from '../../infra/store/dynamodb.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { problemOf } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { startFaultyProxy, type Answer, type Fault, type FaultyProxy } from '../faults/faulty-proxy.ts'
import { dynamodb, tableName } from './dynamodb-tables.ts'

const refusal = (name: string, members: object = {}, headers = {}): Answer => ({
  status: 400,
  headers: { 'content-type': 'application/x-amz-json-1.0', ...headers },
  body: Buffer.from(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${name}`, message: name, ...members })),
})
const cancelled = (...codes: string[]): Answer =>
  refusal('TransactionCanceledException', { CancellationReasons: codes.map((Code) => ({ Code })) })
const failed = { ...refusal('InternalServerError'), status: 500 }
const gateway = { status: 502, headers: { 'content-type': 'text/html' }, body: Buffer.from('<h1>Bad gateway</h1>') }

const BUSY: Record<string, Fault> = {
  'too many requests': { refused: refusal('ThrottlingException') },
  'a table at its limit': { refused: refusal('ProvisionedThroughputExceededException') },
  'an account at its limit': { refused: refusal('RequestLimitExceeded') },
  'the same transaction under way': { refused: refusal('TransactionInProgressException') },
  'another transaction on the same items': { refused: cancelled('TransactionConflict', 'None') },
  'another transaction and a condition': { refused: cancelled('TransactionConflict', 'ConditionalCheckFailed') },
  'a transaction that is throttled': { refused: cancelled('None', 'ThrottlingError') },
}
const LOST: Record<string, Fault> = {
  'a reset': 'reset',
  'a lost answer': 'dropped',
  'half an answer': 'cut',
  'no answer': 'silent',
  'a request that comes after the next': 'late',
  'a fault': { refused: failed },
  'a fault after all was done': { done: failed },
  'a gateway that lost the server': { refused: gateway },
  'a gateway that lost the answer': { done: gateway },
}

const put = (sk: string, expected: Change['expect'], text = 'body'): Change => ({
  pk: 'p',
  sk,
  expect: expected,
  body: utf8(text),
})
const drop = (sk: string, expected: Change['expect']): Change => ({ pk: 'p', sk, expect: expected })

/** Each on a store that holds `there`, `too` and `three`; `done` is what it holds then. */
const WRITES: Record<string, { holds: Change[]; fails: Change[]; done: Record<string, number> }> = {
  'a new item': { holds: [put('new', 0)], fails: [put('there', 0)], done: { new: 1, there: 1, three: 1, too: 1 } },
  'a changed item': { holds: [put('there', 1)], fails: [put('there', 2)], done: { there: 2, three: 1, too: 1 } },
  'a deleted item': { holds: [drop('there', 1)], fails: [drop('there', 2)], done: { three: 1, too: 1 } },
  'several items': {
    holds: [put('there', 1), put('new', 0), put('too', 'any'), drop('three', 1)],
    fails: [put('there', 1), put('new', 0), put('too', 'any'), drop('three', 2)],
    done: { new: 1, there: 2, too: 2 },
  },
}
const UNCONDITIONAL: Record<string, { holds: Change[]; done: Record<string, number> }> = {
  'a put without a condition': { holds: [put('there', 'any')], done: { there: 2, three: 1, too: 1 } },
  'a delete without a condition': { holds: [drop('there', 'any')], done: { three: 1, too: 1 } },
}

let proxy: FaultyProxy
let direct: Store
const opened: Store[] = []
const table = tableName()

beforeEach(async () => {
  proxy = await startFaultyProxy((await dynamodb()).endpoint)
  direct = await open({ client: createClient() })
  for (const { sk } of await direct.list('p', { limit: 100 })) await direct.write([drop(sk, 'any')])
  for (const sk of ['there', 'too', 'three']) await direct.write([put(sk, 0)])
})
afterEach(async () => {
  for (const store of opened.splice(0)) store.close()
  await proxy.stop()
})

/** Soon tired of waiting. */
const hasty = (config: DynamoDBClientConfig = {}) =>
  createClient({
    endpoint: proxy.url,
    requestHandler: { requestTimeout: 300, socketTimeout: 300, throwOnRequestTimeout: true },
    ...config,
  })

async function open(options: Partial<DynamodbOptions> = {}): Promise<Store> {
  const store = await openDynamodb({ ...realEnvironment(), table, client: hasty(), ...options })
  opened.push(store)
  return store
}

const versions = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await direct.list('p', { limit: 100 })).map(({ sk, version }) => [sk, version]))

function once(fault: Fault, before: () => Promise<unknown> = async () => {}): void {
  let isOver = false
  proxy.setFaults(async () => {
    if (isOver) return undefined
    isOver = true
    await before()
    return fault
  })
}

const everyOf = <A, B>(one: Record<string, A>, other: Record<string, B>) =>
  Object.entries(one).flatMap(([a, first]) =>
    Object.entries(other).map(([b, second]) => [a, b, first, second] as const),
  )

describe('a write that meets a fault', () => {
  test.each(everyOf({ ...WRITES, ...UNCONDITIONAL }, { ...BUSY, ...LOST }))(
    'happens once: %s, %s',
    async (write, _fault, { holds, done }, fault) => {
      const store = await open()
      once(fault)
      const outcome = await store.write(holds).catch((error: unknown) => problemOf(error).code)
      // A deleted item keeps no mark of who deleted it.
      expect(write === 'a deleted item' ? [true, 'store-unavailable'] : [true]).toContain(outcome)
      expect(await versions()).toEqual(done)
    },
  )

  test.each(everyOf(WRITES, BUSY))('is refused for its condition: %s, %s', async (_write, _fault, { fails }, fault) => {
    const store = await open()
    once(fault)
    expect(await store.write(fails)).toBe(false)
    expect(await versions()).toEqual({ there: 1, three: 1, too: 1 })
  })

  test.each(everyOf(WRITES, LOST))(
    'is never taken for done when its condition fails: %s, %s',
    async (_write, _fault, { fails }, fault) => {
      const store = await open()
      once(fault)
      const outcome = await store.write(fails).catch((error: unknown) => problemOf(error).code)
      expect([false, 'store-unavailable']).toContain(outcome)
      expect(await versions()).toEqual({ there: 1, three: 1, too: 1 })
    },
  )

  test('is not taken for refused when another came after it', async () => {
    for (const maxAttempts of [1, 3]) {
      const store = await open({ client: hasty({ maxAttempts }) })
      const { version } = (await direct.get('p', 'there')) ?? { version: 0 }
      let requests = 0
      proxy.setFaults(async () => {
        requests += 1
        if (requests === 1) return 'dropped'
        if (requests === 2) await direct.write([put('there', version + 1, 'another')])
        return undefined
      })
      await expect(store.write([put('there', version, 'ours')])).rejects.toMatchObject({ code: 'store-unavailable' })
      expect(await direct.get('p', 'there')).toMatchObject({ version: version + 2, body: utf8('another') })
    }
  })

  test('is asked for under the same token once it may have been done, under another when it was called off', async () => {
    const store = await open()
    const faults: (Fault | undefined)[] = [{ refused: cancelled('TransactionConflict', 'None') }, 'dropped', undefined]
    const tokens: string[] = []
    proxy.setFaults((_headers, body) => {
      tokens.push((JSON.parse(String(body)) as { ClientRequestToken: string }).ClientRequestToken)
      return faults.shift()
    })
    expect(await store.write([put('new', 0), put('there', 1)])).toBe(true)
    expect(tokens).toHaveLength(3)
    expect(tokens[1]).toBe(tokens[2])
    expect(tokens[0]).not.toBe(tokens[1])
  })

  test('is known to have happened whenever it was not lost: a deleted item', async () => {
    for (const fault of [undefined, ...Object.values(BUSY)]) {
      const store = await open()
      proxy.setFaults(() => undefined)
      await direct.write([put('doomed', 0)])
      if (fault) once(fault)
      expect(await store.write([drop('doomed', 1)])).toBe(true)
      expect(await store.write([drop('doomed', 1)])).toBe(false)
    }
  })

  test('is known again with a client that asks again by itself', async () => {
    const store = await open({ client: hasty({ maxAttempts: 3 }) })
    for (const [i, fault] of Object.values(LOST).entries()) {
      once(fault)
      expect(await store.write([put(`by itself ${i}`, 0)])).toBe(true)
    }
  })
})

test('reads on after any fault', async () => {
  const store = await open()
  for (const fault of Object.values({ ...BUSY, ...LOST })) {
    once(fault)
    expect(await store.get('p', 'there')).toMatchObject({ version: 1 })
    once(fault)
    expect(await store.list('p', { limit: 3 })).toHaveLength(3)
    once(fault)
    const together = await Promise.all(['there', 'missing', 'too'].map((sk) => store.get('p', sk)))
    expect(together.map((item) => item?.version)).toEqual([1, undefined, 1])
  }
})

test('asks again for what an answer about many left out', async () => {
  const store = await open()
  const asked: string[] = []
  proxy.setFaults((headers, body) => {
    asked.push(String(headers['x-amz-target']).replace(/^.*\./, ''))
    if (asked.length > 1) return undefined
    const { RequestItems } = JSON.parse(String(body)) as { RequestItems: object }
    return {
      refused: { ...refusal(''), status: 200, body: Buffer.from(JSON.stringify({ UnprocessedKeys: RequestItems })) },
    }
  })
  const together = await Promise.all(['there', 'missing', 'too'].map((sk) => store.get('p', sk)))
  expect(together.map((item) => item?.version)).toEqual([1, undefined, 1])
  expect(asked).toEqual(['BatchGetItem', 'GetItem', 'GetItem', 'GetItem'])
})

test('does what it says under any series of writes and faults', async () => {
  const change = fc.record({
    sk: fc.constantFrom('a', 'b', 'c'),
    expected: fc.constantFrom<Change['expect']>('any', 0, 1, 2),
    drops: fc.boolean(),
  })
  const write = fc.uniqueArray(change, { minLength: 1, maxLength: 3, selector: ({ sk }) => sk })
  const faults = Object.values({ ...BUSY, ...LOST }).filter((fault) => fault !== 'silent' && fault !== 'late')
  const fault = fc.option(fc.constantFrom(...faults), { freq: 1, nil: undefined })
  const store = await open({ clock: { now: () => 0, sleep: async () => {} } })
  await fc.assert(
    fc.asyncProperty(
      fc.array(write, { maxLength: 8 }),
      fc.infiniteStream(fault),
      fc.uuid(),
      async (writes, met, pk) => {
        let before = new Map<string, number>()
        for (const changes of writes) {
          const holds = changes.every(({ sk, expected }) => expected === 'any' || (before.get(sk) ?? 0) === expected)
          const after = new Map(before)
          for (const { sk, drops } of changes) {
            if (drops) after.delete(sk)
            else after.set(sk, (after.get(sk) ?? 0) + 1)
          }
          proxy.setFaults(() => met.next().value)
          const asked = changes.map(({ sk, expected, drops }) => ({
            ...(drops ? drop(sk, expected) : put(sk, expected)),
            pk,
          }))
          const outcome = await store.write(asked).catch((error: unknown) => problemOf(error).code)
          const found = new Map((await direct.list(pk, { limit: 9 })).map(({ sk, version }) => [sk, version]))
          if (outcome === 'store-unavailable') expect(holds ? [before, after] : [before]).toContainEqual(found)
          else expect([outcome, found]).toEqual(holds ? [true, after] : [false, before])
          before = found
        }
      },
    ),
    { numRuns: 50 },
  )
})

describe('a server that never answers as it should', () => {
  const hurried = () => {
    let nowMs = 0
    const sleeps: number[] = []
    const clock = {
      now: () => nowMs,
      sleep: async (ms: number) => {
        sleeps.push(ms)
        nowMs += ms
      },
    }
    return { clock, sleeps }
  }

  test('is given up with "not known" after a bounded number of tries, with pauses that differ', async () => {
    const { clock, sleeps } = hurried()
    const store = await open({ clock })
    for (const fault of [BUSY['too many requests'], LOST['a reset'], LOST['a fault']] as Fault[]) {
      const before = proxy.requests()
      proxy.setFaults(() => fault)
      await expect(store.write([put('new', 0)])).rejects.toMatchObject({ code: 'store-unavailable' })
      await expect(store.get('p', 'there')).rejects.toMatchObject({ code: 'store-unavailable' })
      expect(proxy.requests() - before).toBeLessThanOrEqual(24)
    }
    expect(new Set(sleeps).size).toBeGreaterThan(10)
    expect(Math.max(...sleeps)).toBeLessThanOrEqual(1000)
    expect(await versions()).toEqual({ there: 1, three: 1, too: 1 })
  })

  test('is given up when the time is over, however few the tries; sooner with a write, where that was told', async () => {
    let nowMs = 0
    const store = await open({ clock: { now: () => (nowMs += 3000), sleep: async () => {} }, writeMs: 2000 })
    proxy.setFaults(() => 'reset')
    const triesOf = async (asked: Promise<unknown>): Promise<number> => {
      const before = proxy.requests()
      await expect(asked).rejects.toMatchObject({ code: 'store-unavailable' })
      return proxy.requests() - before
    }
    expect(await triesOf(store.get('p', 'there'))).toBe(3)
    expect(await triesOf(store.write([put('new', 0)]))).toBe(1)
  })

  test('is not asked again where that cannot help', async () => {
    const store = await open()
    for (const answer of [
      refusal('AccessDeniedException'),
      refusal('ValidationException'),
      cancelled('ValidationError', 'None'),
    ]) {
      const before = proxy.requests()
      proxy.setFaults(() => ({ refused: answer }))
      await expect(store.write([put('a', 0), put('b', 0)])).rejects.toMatchObject({ code: 'store-unavailable' })
      expect(proxy.requests() - before).toBe(1)
    }
  })
})

test('a clock that is an hour off is set right by the server', async () => {
  const store = await open()
  const date = new Date(Date.now() + 3_600_000).toUTCString()
  once({ refused: refusal('InvalidSignatureException', {}, { date }) })
  expect(await store.write([put('new', 0)])).toBe(true)
})

describe('a table', () => {
  /** A name that leads to the server, and is no name of this machine. */
  const elsewhere = () => {
    const lookup: LookupFunction = (_name, { all }, found) =>
      all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4)
    const { port } = new URL(proxy.url)
    return createClient({
      endpoint: `http://elsewhere.localhost:${port}`,
      requestHandler: { httpAgent: new Agent({ lookup }) },
    })
  }

  test('that is not there is made on this machine, and elsewhere when told to', async () => {
    const [here, there] = [tableName(), tableName()]
    expect(await (await open({ table: here })).write([put('a', 0)])).toBe(true)
    expect(await (await open({ table: there, client: elsewhere(), createTable: true })).write([put('a', 0)])).toBe(true)
    expect(await (await open({ table: there, client: elsewhere() })).get('p', 'a')).toMatchObject({ version: 1 })
  })

  test('that is not there is named elsewhere', async () => {
    const missing = tableName()
    await expect(open({ table: missing, client: elsewhere() })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: `There is no table ${missing}. Make it, or set RAINCHECK_CREATE_TABLE=1.`,
    })
  })

  test('is made once by many who open it at once', async () => {
    const shared = tableName()
    const stores = await Promise.all(Array.from({ length: 5 }, () => open({ table: shared })))
    const outcomes = await Promise.all(stores.map((store) => store.write([put('a', 0)])))
    expect(outcomes.filter(Boolean)).toHaveLength(1)
  })

  test('that is deleted under its store makes it unavailable, and leaves nothing of before', async () => {
    const doomed = tableName()
    const store = await open({ table: doomed })
    await store.write([put('a', 0)])
    const client = createClient()
    await client.send(new DeleteTableCommand({ TableName: doomed }))
    client.destroy()
    const gone = { code: 'store-unavailable', message: "The store's table is gone." }
    await expect(store.get('p', 'a')).rejects.toMatchObject(gone)
    await expect(store.list('p', { limit: 1 })).rejects.toMatchObject(gone)
    await expect(store.write([put('a', 1)])).rejects.toMatchObject(gone)
    await expect(store.write([put('a', 1), put('b', 0)])).rejects.toMatchObject(gone)
  })

  test('of another shape is refused when it is opened', async () => {
    await expect(open({ table: 'no' })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('The table no cannot be opened: '),
    })
  })

  test('without credentials is refused at once, with the reason', async () => {
    const before = proxy.requests()
    const credentials = async () => {
      throw Object.assign(new Error('No credentials here'), { name: 'CredentialsProviderError' })
    }
    await expect(open({ client: hasty({ credentials }) })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('No credentials here'),
    })
    expect(proxy.requests()).toBe(before)
  })
})
