/**
 * What one sequencer appends in a second of its processor, of settlements that wait; and settlements a second, by clients
 * that each settle on a lane of their own, one after the other: on SQLite, and on a DynamoDB server beside a transaction
 * that moves a head, on the same server in the same run. What the head costs is that everybody meets there: so by few
 * clients, and by many.
 */
import { join } from 'node:path'
import { startDynamodb } from '../infra/dynamodb-server.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openStore } from '../../infra/store/open.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { sortable } from '../../ledger/places.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { LEDGER_ID, SECRET } from '../ledger/kit.ts'
import { openSettlers, type SettlingLane } from '../ledger/settlers.ts'
import { median, type Bench, type Figure } from './figure.ts'

const CLIENTS = 8
const MANY_CLIENTS = 32
const SECONDS = 3
const UNITS = 8192
const WAITING = 1024
const environment = realEnvironment()

export const settlements: Bench = async ({ runs, dir, ...options }) => {
  const server = await startDynamodb({ path: join(dir, 'dynamodb.sqlite') })
  Object.assign(process.env, server.variables)
  const rates = {
    sqlite: [] as number[],
    naive: [] as number[],
    dynamodb: [] as number[],
    naiveOfMany: [] as number[],
    dynamodbOfMany: [] as number[],
  }
  const appended = { sqlite: [] as number[], dynamodb: [] as number[] }
  try {
    for (let run = 0; run < runs; run++) {
      appended.sqlite.push(await ofSequencer(`sqlite:${join(dir, `sequencer-${run}.sqlite`)}`))
      appended.dynamodb.push(await ofSequencer(`dynamodb:sequencer-${process.pid}-${run}`))
      rates.sqlite.push(await ofLedger(`sqlite:${join(dir, `settlements-${run}.sqlite`)}`))
      const table = (name: string): string => `dynamodb:${name}-${process.pid}-${run}`
      rates.naive.push(await ofLedger(table('naive'), CLIENTS, true))
      rates.dynamodb.push(await ofLedger(table('settlements')))
      rates.naiveOfMany.push(await ofLedger(table('naive-many'), MANY_CLIENTS, true))
      rates.dynamodbOfMany.push(await ofLedger(table('settlements-many'), MANY_CLIENTS))
      options.say(
        Object.entries(rates)
          .map(([name, values]) => `${name} ${values.at(-1)?.toFixed(0)}/s`)
          .join(', '),
      )
    }
  } finally {
    await server.stop()
  }
  const figuresOf = (clients: number, ours: readonly number[], naive: readonly number[]): Figure[] => {
    const unit = `settlements/s, ${clients} clients`
    const ratio = median(ours.map((rate, i) => rate / (naive[i] as number)))
    return [
      { name: 'settlements/dynamodb', unit: `${unit}, ratio to a head`, value: median(ours), ratio, runs },
      { name: 'settlements/naive', unit, value: median(naive), runs },
    ]
  }
  return [
    { name: 'settlements/sqlite', unit: `settlements/s, ${CLIENTS} clients`, value: median(rates.sqlite), runs },
    ...figuresOf(CLIENTS, rates.dynamodb, rates.naive),
    ...figuresOf(MANY_CLIENTS, rates.dynamodbOfMany, rates.naiveOfMany),
    ...Object.entries(appended).map(([name, values]) => ({
      name: `sequencer/${name}`,
      unit: 'entries/CPU-s',
      value: median(values),
      runs,
    })),
  ]
}

/** Where each settlement moves the head, there are no pointers to wait for, and a transaction is tried again at once. */
const hasty: Environment = { ...environment, clock: { ...environment.clock, sleep: async () => {} } }

const ledgerOn = (store: Store, isNaive = false): Ledger =>
  createLedger({
    environment: isNaive ? hasty : environment,
    store,
    secret: SECRET,
    origin: 'bench.example/ledger',
    policy: { faucet: 10_000_000n, unitPrice: 1n },
  })

const lanesAt = (ledger: Ledger, clients = CLIENTS): Promise<SettlingLane[]> =>
  openSettlers({
    ledger: LEDGER_ID,
    nowMs: environment.clock.now(),
    payers: clients,
    lanesEach: 1,
    units: UNITS,
    send: (path, objects) => post(ledger, path, objects),
  })

/** @returns entries that it appends in a second of its processor */
async function ofSequencer(place: string): Promise<number> {
  const store = await openStore(place)
  const ledger = ledgerOn(store)
  const lanes = await lanesAt(ledger)
  await ledger.sequence()
  const settleAll = async (lane: SettlingLane): Promise<void> => {
    for (let unit = 1; unit <= WAITING / CLIENTS; unit++)
      await post(ledger, '/v1/redemptions', { redemption: lane.redeem(unit) })
  }
  await Promise.all(lanes.map(settleAll))
  const before = process.cpuUsage()
  const count = await ledger.sequence()
  const { system, user } = process.cpuUsage(before)
  store.close()
  return count / ((system + user) / 1e6)
}

/** @returns a second, until the log has them all */
async function ofLedger(place: string, clients = CLIENTS, isNaive = false): Promise<number> {
  const opened = await openStore(place)
  const store = isNaive ? movingHead(opened) : opened
  const ledger = ledgerOn(store, isNaive)
  if (!isNaive) await ledger.start()
  const lanes = await lanesAt(ledger, clients)
  if (!isNaive) await ledger.sequence()
  const startedMs = performance.now()
  const settled = await Promise.all(lanes.map((lane) => settle(ledger, lane, startedMs)))
  if (!isNaive) await ledger.sequence()
  const seconds = (performance.now() - startedMs) / 1000
  await ledger.stop()
  store.close()
  return settled.reduce((sum, count) => sum + count, 0) / seconds
}

async function settle(ledger: Ledger, lane: SettlingLane, startedMs: number): Promise<number> {
  let unit = 0
  while (performance.now() - startedMs < SECONDS * 1000 && unit < UNITS) {
    await post(ledger, '/v1/redemptions', { redemption: lane.redeem(++unit) })
  }
  return unit
}

async function post(ledger: Ledger, path: string, objects: Readonly<Record<string, Envelope>>): Promise<void> {
  const body = JSON.stringify(
    Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)])),
  )
  const headers = { 'content-type': 'application/json' }
  const response = await ledger.app.request(path, { method: 'POST', headers, body })
  if (response.status !== 201) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
}

/**
 * The same ledger, but each settlement is a transaction that moves the head of the log: the slot of the lane, the entry,
 * the head. That is all of the log: nothing is sequenced, nothing is replayed.
 */
const movingHead = (store: Store): Store => ({
  ...store,
  async write(changes) {
    const [change] = changes
    if (change?.pk.startsWith('pointers/')) return true
    if (changes.length > 1 || !change?.pk.startsWith('lane/')) return store.write(changes)
    for (;;) {
      const version = (await store.get('naive', 'head'))?.version ?? 0
      const entry = { pk: 'naive-entries', sk: sortable(version), expect: 0, body: change.body as Bytes }
      const head = { pk: 'naive', sk: 'head', expect: version, body: HEAD }
      if (await store.write([change, entry, head])) return true
      // The lane is of this client alone: it was the head that another moved.
    }
  },
})

/** As large as a signed checkpoint. */
const HEAD = new Uint8Array(400)
