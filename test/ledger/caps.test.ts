/** What a delegation lets an agent spend, while several ledger processes take its declarations over one store. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openStore } from '../../infra/store/open.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { dynamodb, freshTable } from '../infra/dynamodb-tables.ts'
import { auditStore } from './audit.ts'
import { DAY_MS, LEDGER_ID, openLedger, SECRET, START_MS, testClock, type Answer, type TestLedger } from './kit.ts'
import { delegation, person, purchase, type Person, type Purchase } from './people.ts'

const PROCESSES = 4
const PRICE = 10n
const alice = person('alice')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-caps-'))
})
afterAll(() => rm(folder, { recursive: true }))

let files = 0
const stores: readonly (readonly [name: string, fresh: () => Promise<string>])[] = [
  ['SQLite', async () => `sqlite:${join(folder, `store-${files++}.sqlite`)}`],
  ['DynamoDB', freshTable],
]

/** Whose identity is as old as the processes' own clocks are. */
function personOf(nowMs: number): Person {
  const { agent, signer } = person('owner')
  const identity = genesis([signer], nowMs)
  const id = objectId('identity', identity.body)
  return { agent, hex: toHex(id), id, identity, signer }
}

/** A declaration of ten credits, signed by the agent: another for each number. */
const spending = (who: Person, number: number, expires: number): Purchase =>
  purchase(
    who,
    { units: 5, unitPrice: 2n, segment: 5, expires, nonce: sha256(utf8(`declaration ${number}`)).slice(0, 16) },
    who.agent,
  )

/** Asked again until no other command came first. */
async function insist(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask()
    if (answer.body['code'] !== 'conflict') return answer
  }
}

const accepted = (answers: readonly Answer[]): number => answers.filter(({ status }) => status === 201).length
const codes = (answers: readonly Answer[]) => new Set(answers.flatMap(({ body }) => body['code'] ?? []))

describe.each(stores)('over %s, several ledgers at once', (_, fresh) => {
  const opened: Store[] = []
  afterEach(() => {
    for (const store of opened.splice(0)) store.close()
  })

  async function openAll(count = PROCESSES): Promise<{ ledgers: TestLedger[]; clock: ReturnType<typeof testClock> }> {
    const spec = await fresh()
    const clock = testClock()
    const ledgers: TestLedger[] = []
    for (let i = 0; i < count; i++) {
      const store = await openStore(spec, { createTable: i === 0 })
      opened.push(store)
      ledgers.push(openLedger({ store, clock }))
    }
    await (ledgers[0] as TestLedger).post('/v1/accounts', { identity: alice.identity })
    return { ledgers, clock }
  }

  const nth = (ledgers: readonly TestLedger[], i: number): TestLedger => ledgers[i % ledgers.length] as TestLedger
  const post = (ledgers: readonly TestLedger[], i: number, path: string, objects: Record<string, Envelope>) =>
    insist(() => nth(ledgers, i).post(path, objects))

  test('freeze no more a day than the delegation says, and on the next day as much again, up to what it says in all', async () => {
    const { clock, ledgers } = await openAll()
    const caps = { day: 6n * PRICE + 9n, total: 9n * PRICE + 5n }
    await post(ledgers, 0, '/v1/delegations', { delegation: delegation(alice, caps) })
    const expires = START_MS + 5 * DAY_MS
    const declareAll = (from: number) =>
      Promise.all(
        Array.from({ length: 14 }, (_, i) =>
          post(ledgers, i, '/v1/declarations', { declaration: spending(alice, from + i, expires).declaration }),
        ),
      )
    const today = await declareAll(0)
    expect([accepted(today), codes(today)]).toEqual([6, new Set(['delegation-exceeded'])])
    clock.advance(DAY_MS)
    const tomorrow = await declareAll(100)
    expect([accepted(tomorrow), codes(tomorrow)]).toEqual([3, new Set(['delegation-exceeded'])])
    clock.advance(DAY_MS)
    expect(accepted(await declareAll(200))).toBe(0)
    const { body } = await nth(ledgers, 0).get(`/v1/accounts/${alice.hex}`)
    expect(body['frozen']).toBe(String(9n * PRICE))
    await nth(ledgers, 0).sequence()
    await auditStore(nth(ledgers, 1).store)
  })

  test('give back what was not spent, and never more than that', async () => {
    const { ledgers } = await openAll(2)
    await post(ledgers, 0, '/v1/delegations', { delegation: delegation(alice, { day: 3n * PRICE, total: 3n * PRICE }) })
    const orders = Array.from({ length: 9 }, (_, i) => spending(alice, i, START_MS + DAY_MS))
    await Promise.all(
      orders.map(async (order, i) => {
        await post(ledgers, i, '/v1/declarations', { declaration: order.declaration })
        await post(ledgers, i + 1, '/v1/releases', { release: order.release(alice, alice.agent) })
      }),
    )
    const again = Array.from({ length: 6 }, (_, i) =>
      post(ledgers, i, '/v1/declarations', { declaration: spending(alice, 50 + i, START_MS + DAY_MS).declaration }),
    )
    expect(accepted(await Promise.all(again))).toBe(3)
    await nth(ledgers, 1).sequence()
    await auditStore(nth(ledgers, 0).store)
  })
})

describe.each(stores)('over %s, several processes at once', (name, fresh) => {
  const children: ChildProcess[] = []
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })

  async function start(spec: string, key: string): Promise<string> {
    const variables = name === 'DynamoDB' ? (await dynamodb()).variables : {}
    const env = {
      ...variables,
      PATH: process.env['PATH'],
      PORT: '0',
      LEDGER_STORE: spec,
      LEDGER_KEY_FILE: key,
      LEDGER_ORIGIN: 'test.example/ledger',
      LEDGER_FAUCET: '1000',
      RAINCHECK_CREATE_TABLE: '1',
    }
    const entryPoint = fileURLToPath(new URL('../../ledger/node.ts', import.meta.url))
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entryPoint], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const [line] = (await once(lines, 'line')) as [string]
    return (JSON.parse(line) as { url: string }).url
  }

  async function post(url: string, path: string, objects: Record<string, Envelope>): Promise<Answer> {
    const json = Object.fromEntries(Object.entries(objects).map(([part, object]) => [part, envelopeToJson(object)]))
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(json) })
    const type = response.headers.get('content-type')
    return { status: response.status, type, body: (await response.json()) as Record<string, unknown> }
  }

  test('freeze no more in all than the delegation says, whichever is asked', async () => {
    const spec = await fresh()
    const key = join(folder, `key-${name}`)
    await writeFile(key, toHex(SECRET))
    const urls = [await start(spec, key), ...(await Promise.all([start(spec, key), start(spec, key)]))]
    const [url] = urls as [string]
    const nowMs = Date.now()
    const owner = personOf(nowMs)
    await insist(() => post(url, '/v1/accounts', { identity: owner.identity }))
    const terms = { day: 1000n, total: 7n * PRICE, issued: nowMs, expires: nowMs + DAY_MS, ledger: LEDGER_ID }
    await insist(() => post(url, '/v1/delegations', { delegation: delegation(owner, terms) }))
    const answers = await Promise.all(
      Array.from({ length: 18 }, (_, i) => {
        const { declaration } = spending(owner, i, nowMs + DAY_MS)
        return insist(() => post(urls[i % urls.length] as string, '/v1/declarations', { declaration }))
      }),
    )
    expect([accepted(answers), codes(answers)]).toEqual([7, new Set(['delegation-exceeded'])])
  })
})
