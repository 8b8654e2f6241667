/** A ledger in a test's hands: its app, a clock that the test moves, and people who sign. */
import { setImmediate } from 'node:timers/promises'
import { expect } from 'vitest'
import { z } from 'zod'
import { sha256 } from '#primitives'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createContext, type LedgerContext, type LedgerOptions } from '../../ledger/context.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import type { Clock, Environment, Random } from '../../protocol/environment.ts'
import { envelopeToJson, signerFrom, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'

export const START_MS = Date.UTC(2030, 0, 1)
export const DAY_MS = 86_400_000
export const FAUCET = 1_000_000n
export const ORIGIN = 'test.example/ledger'
export const SECRET = sha256(utf8('ledger'))
export const LEDGER_ID = sha256(signerFrom(SECRET).key)

export interface TestClock extends Clock {
  set(ms: number): void
  advance(ms: number): void
}

/** Stands still until moved; sleeping takes no time, but lets others go first. */
export function testClock(startMs = START_MS): TestClock {
  let nowMs = startMs
  return {
    now: () => nowMs,
    async sleep(_, signal) {
      await setImmediate()
      signal?.throwIfAborted()
    },
    set: (ms) => void (nowMs = ms),
    advance: (ms) => void (nowMs += ms),
  }
}

export function testRandom(seed = 'random'): Random {
  let count = 0
  return { bytes: (length) => sha256(utf8(`${seed} ${count++}`)).slice(0, length) }
}

let environments = 0

/** Of a process of its own: what it draws at random, no other draws. */
export function testEnvironment(clock: Clock): Environment {
  const transport = () => Promise.reject(new Error('the ledger calls nobody'))
  return { clock, random: testRandom(`random ${environments++}`), transport }
}

/** The world of a ledger's modules, for tests of one of them. */
export const contextOf = (store: Store, clock: Clock = testClock()): LedgerContext =>
  createContext({
    environment: testEnvironment(clock),
    store,
    secret: SECRET,
    origin: ORIGIN,
    policy: { faucet: FAUCET, unitPrice: 1n },
  })

export interface Answer {
  readonly status: number
  readonly type: string | null
  /** The JSON body. */
  readonly body: Readonly<Record<string, unknown>>
}

export interface TestLedger extends Ledger {
  readonly clock: TestClock
  readonly store: Store
  /** What the ledger reported as faults of its own. */
  readonly faults: readonly unknown[]
  get(path: string): Promise<Answer>
  post(path: string, objects: Readonly<Record<string, Envelope>>): Promise<Answer>
  postJson(path: string, body: unknown): Promise<Answer>
}

export interface TestLedgerOptions {
  readonly clock?: TestClock
  readonly store?: Store
  readonly faucet?: bigint
  readonly secret?: Bytes
  readonly origin?: string
  /** Besides the faucet. */
  readonly policy?: Partial<LedgerOptions['policy']>
}

export function openLedger({
  clock = testClock(),
  store = openSqlite(':memory:'),
  faucet = FAUCET,
  secret = SECRET,
  origin = ORIGIN,
  policy = {},
}: TestLedgerOptions = {}): TestLedger {
  const faults: unknown[] = []
  const ledger = createLedger({
    environment: testEnvironment(clock),
    store,
    secret,
    origin,
    policy: { faucet, unitPrice: 1n, ...policy },
    onFault: (error) => faults.push(error),
  })

  async function ask(path: string, init?: RequestInit): Promise<Answer> {
    const response = await ledger.app.request(path, init)
    const type = response.headers.get('content-type')
    return { status: response.status, type, body: bodyShape.parse(await response.json()) }
  }

  const postJson = (path: string, body: unknown): Promise<Answer> =>
    ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

  return {
    ...ledger,
    clock,
    store,
    faults,
    get: (path) => ask(path),
    postJson,
    post: (path, objects) =>
      postJson(
        path,
        Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)])),
      ),
  }
}

const bodyShape = z.record(z.string(), z.unknown())

/** Expects the outcome: a status and, for a problem, its code. */
export async function expectProblem(answer: Promise<Answer> | Answer, code: string): Promise<Answer> {
  const { status, type, body } = await answer
  expect({ code: body['code'], type }).toEqual({ code, type: 'application/problem+json' })
  expect(body['status']).toBe(status)
  expect(status).toBeLessThan(500)
  return { status, type, body }
}

export async function expectAccepted(answer: Promise<Answer> | Answer): Promise<Readonly<Record<string, unknown>>> {
  const { status, body } = await answer
  expect({ status, body }).toEqual({ status: 201, body: expect.anything() })
  return body
}
