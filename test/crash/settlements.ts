/**
 * Several processes settle over one store while, in every second, the one that sequences and one at random are killed with
 * -9 and started again. Whatever was acknowledged must be in the log within the merge delay after the last of them came back,
 * once, and every sum must be exact.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build, type BuildOptions } from 'esbuild'
import { auditLedger } from '../../agent/cli/audit.ts'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { createContext, type LedgerContext } from '../../ledger/context.ts'
import { readHead } from '../../ledger/log.ts'
import { createReplayFeed } from '../../ledger/replay-feed.ts'
import { readShown } from '../../ledger/shards.ts'
import { openStore } from '../../infra/store/open.ts'
import { toHex } from '../../protocol/bytes.ts'
import { noteText, parseCheckpoint } from '../../protocol/checkpoint.ts'
import { entryHash } from '../../protocol/entry.ts'
import { EMPTY_FRONTIER } from '../../protocol/merkle.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { LEDGER_ID, ORIGIN, SECRET } from '../ledger/kit.ts'
import { openSettlers, type SettlingLane } from '../ledger/settlers.ts'
import { createChance, type Chance } from '../simulation/chance.ts'

export interface SettlementsOptions {
  /** For `openStore`, here and in each process. */
  readonly store: string
  readonly processes: number
  readonly lanes: number
  /** That the log is in. */
  readonly shards: number
  readonly seconds: number
  readonly seed: string
  readonly say: (line: string) => void
}

export interface SettlementsReport {
  /** Seconds in which processes were killed. */
  readonly seconds: number
  readonly kills: number
  /** Of those, how often it was the process that had appended last: once a second, unless none had. */
  readonly sequencersKilled: number
  /** Redemptions that were acknowledged. */
  readonly settled: number
  readonly entries: number
  /** Acknowledged, and not in the log in time. */
  readonly missing: number
  /** In the log more than once. */
  readonly twice: number
  /** After the last process was back, until all of them were in the log that came into it within the merge delay. */
  readonly lateMs: number
  readonly mergeDelayMs: number
  /** Accounts that hold something else than what was settled on their lanes. */
  readonly wrongAccounts: number
  readonly auditProblems: readonly string[]
}

const environment = realEnvironment()
const { clock } = environment
/** So that a process is up again sooner: two a second are, and the machine is there for what they do then. */
const NODE_COMPILE_CACHE = join(tmpdir(), 'raincheck-compile-cache')
const BUNDLED: BuildOptions = {
  entryPoints: [fileURLToPath(new URL('ledger-process.ts', import.meta.url))],
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // For what the bundle holds in CommonJS.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" },
  logLevel: 'error',
}
const SECOND_MS = 1000
const RETRY_PAUSE_MS = 20
const TRY_MS = 15_000

interface Running {
  child: ChildProcess
  url: string
  isUp: boolean
  /** Resolves when it is up again. */
  ready: Promise<void>
}

export async function settlements(options: SettlementsOptions): Promise<SettlementsReport> {
  const chance = createChance(options.seed)
  const dir = await mkdtemp(join(tmpdir(), 'raincheck-settlements-'))
  const entryPoint = join(dir, 'ledger-process.mjs')
  await build({ ...BUNDLED, outfile: entryPoint })
  const town = await openTown(options, entryPoint)
  const store = await openStore(options.store)
  try {
    const lanes = await openSettlers({
      ledger: LEDGER_ID,
      nowMs: clock.now(),
      payers: 4,
      lanesEach: options.lanes / 4,
      units: 1024,
      send: (path, objects) => town.send(chance, path, objects),
    })
    const acknowledged = new Set<string>()
    const untilMs = clock.now() + options.seconds * 1000
    const settling = lanes.map((lane, i) => settle(town, lane, chance.fork(`lane ${i}`), untilMs, acknowledged))
    const killed = await killing(town, chance.fork('kills'), untilMs, options)
    const units = await Promise.all(settling)
    await Promise.all(town.processes.map(({ ready }) => ready))
    const ledger = createLedgerClient({ environment, url: (town.processes[0] as Running).url })
    const { mergeDelayMs } = await ledger.info()
    const found = await logged(town, store, options, acknowledged, mergeDelayMs)
    const { problems } = await auditLedger(ledger)
    return {
      ...killed,
      settled: acknowledged.size,
      ...found,
      mergeDelayMs,
      wrongAccounts: await wrongAccounts(ledger, lanes, units),
      auditProblems: problems,
    }
  } finally {
    store.close()
    town.stop()
    await rm(dir, { recursive: true })
  }
}

interface Town {
  readonly processes: readonly Running[]
  /** The process that appended last; waits for one that is up where that was killed. */
  sequencer(untilMs: number): Promise<Running | undefined>
  kill(running: Running): Promise<void>
  /** Asks one process after the other until one accepts. @returns the reply */
  send(chance: Chance, path: string, objects: Readonly<Record<string, Envelope>>): Promise<unknown>
  stop(): void
}

async function openTown(
  { processes: count, shards, store, say }: SettlementsOptions,
  entryPoint: string,
): Promise<Town> {
  const appended: { last?: Running | undefined } = {}
  let isOver = false

  async function start(running: Running): Promise<void> {
    const child = fork(entryPoint, {
      env: {
        ...process.env,
        LEDGER_STORE: store,
        LEDGER_SECRET: toHex(SECRET),
        LEDGER_SHARDS: `${shards}`,
        NODE_COMPILE_CACHE,
      },
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
    })
    running.child = child
    child.on('message', () => {
      // What a process said before it was killed may come after.
      if (!child.killed) appended.last = running
    })
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => [''])])) as [string]
    if (line !== '') {
      running.url = (JSON.parse(line) as { url: string }).url
      running.isUp = true
    } else if (!isOver) {
      say('a process ended by itself before it was up')
      await start(running)
    }
  }

  const processes: Running[] = []
  for (let i = 0; i < count; i++) {
    const running = { url: '', isUp: false } as Running
    processes.push(running)
    running.ready = start(running)
    // The first makes the table and begins the log.
    if (i === 0) await running.ready
  }
  await Promise.all(processes.map(({ ready }) => ready))

  return {
    processes,
    async sequencer(untilMs) {
      while (!appended.last?.isUp && clock.now() < untilMs) await clock.sleep(RETRY_PAUSE_MS)
      return appended.last?.isUp ? appended.last : undefined
    },
    async kill(running) {
      const { child } = running
      running.isUp = false
      if (appended.last === running) appended.last = undefined
      child.kill('SIGKILL')
      await once(child, 'exit')
      running.ready = start(running)
    },
    async send(chance, path, objects) {
      const body = JSON.stringify(
        Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)])),
      )
      for (;;) {
        const reply = await post(`${chance.pick(processes).url}${path}`, body)
        if ('body' in reply) return reply.body
        await clock.sleep(reply.pauseMs)
      }
    },
    stop() {
      isOver = true
      for (const { child } of processes) child.kill('SIGKILL')
    },
  }
}

/** @returns a pause when it is to be sent again: no answer, or none for now */
async function post(url: string, body: string): Promise<{ readonly body: unknown } | { readonly pauseMs: number }> {
  const headers = { 'content-type': 'application/json' }
  const signal = AbortSignal.timeout(TRY_MS)
  const answer = await fetch(url, { method: 'POST', headers, body, signal })
    .then(async (response) => ({ response, body: (await response.json()) as unknown }))
    .catch(() => undefined)
  if (!answer) return { pauseMs: RETRY_PAUSE_MS }
  const { status, headers: told } = answer.response
  if (status === 503 || status === 409)
    return { pauseMs: Math.max(RETRY_PAUSE_MS, 1000 * Number(told.get('retry-after') ?? 0)) }
  if (status >= 300) throw new Error(`${url} answered ${status}: ${JSON.stringify(answer.body)}`)
  return answer
}

/** Unit after unit, each sent until it is acknowledged. @returns the last unit */
async function settle(
  town: Town,
  lane: SettlingLane,
  chance: Chance,
  untilMs: number,
  acknowledged: Set<string>,
): Promise<number> {
  let unit = 0
  while (clock.now() < untilMs && unit < lane.units) {
    unit++
    const reply = (await town.send(chance, '/v1/redemptions', { redemption: lane.redeem(unit) })) as {
      receipt: unknown
    }
    acknowledged.add(toHex(parseReceipt(envelopeFromJson(reply.receipt)).entry))
  }
  return unit
}

async function killing(town: Town, chance: Chance, untilMs: number, { say }: SettlementsOptions) {
  const startMs = clock.now()
  let [seconds, kills, sequencersKilled] = [0, 0, 0]
  while (startMs + (seconds + 2) * SECOND_MS <= untilMs) {
    seconds++
    await clock.sleep(Math.max(0, startMs + seconds * SECOND_MS - clock.now()))
    const sequencer = await town.sequencer(startMs + (seconds + 1) * SECOND_MS)
    const [other] = chance.shuffle(town.processes.filter((one) => one.isUp && one !== sequencer))
    const doomed = [sequencer, other].filter((one) => one !== undefined)
    await Promise.all(doomed.map((running) => town.kill(running)))
    kills += doomed.length
    if (sequencer) sequencersKilled++
  }
  say(`${kills} kills in ${seconds} seconds, of ${sequencersKilled} sequencers`)
  return { seconds, kills, sequencersKilled }
}

/** What the log has when the merge delay is over: nobody appends while it is counted, however long that takes. */
async function logged(
  { processes }: Town,
  store: Store,
  { shards }: SettlementsOptions,
  acknowledged: ReadonlySet<string>,
  mergeDelayMs: number,
) {
  const policy = { faucet: 0n, unitPrice: 1n, ...(shards > 1 && { shards }) }
  const context = createContext({ environment, store, secret: SECRET, origin: ORIGIN, policy })
  const growth = await watchGrowth(context, mergeDelayMs)
  for (const { child } of processes) child.kill('SIGSTOP')
  const places = await entryPlaces(context)
  for (const { child } of processes) child.kill('SIGCONT')
  const last = Math.max(...Array.from(acknowledged, (hash) => places.get(hash)?.[0] ?? -1))
  const occurrences = [...places.values()]
  return {
    entries: occurrences.reduce((sum, { length }) => sum + length, 0),
    missing: [...acknowledged].filter((hash) => !places.has(hash)).length,
    twice: occurrences.filter(({ length }) => length > 1).length,
    lateMs: growth.find(({ size }) => size > last)?.ms ?? mergeDelayMs,
  }
}

/** @returns how many entries the log had from when on, for so long from now */
async function watchGrowth({ policy, store }: LedgerContext, forMs: number) {
  const startedMs = clock.now()
  const growth: { readonly ms: number; readonly root: number; readonly size: number }[] = []
  for (let ms = 0; ms < forMs; ms = clock.now() - startedMs) {
    const { note, size: root } = await readHead(store)
    if (growth.at(-1)?.root !== root)
      growth.push({ ms, root, size: policy.shards ? await joinedSize(store, note) : root })
    await clock.sleep(RETRY_PAUSE_MS)
  }
  return growth
}

/** Of the shards, as the checkpoint of the root log joins them. */
async function joinedSize(store: Store, note: string): Promise<number> {
  const shown = await readShown(store, note)
  return shown.reduce((sum, text) => sum + parseCheckpoint(noteText(text)).size, 0)
}

/** Where each entry is as the log replays, by its leaf hash, hex. */
async function entryPlaces(context: LedgerContext): Promise<ReadonlyMap<string, readonly number[]>> {
  const places = new Map<string, number[]>()
  const feed = await createReplayFeed(context, EMPTY_FRONTIER, 0)
  let index = 0
  for (let next = await feed.next(); next.length > 0; next = await feed.next()) {
    for (const bytes of next) {
      feed.took(bytes)
      const hash = toHex(entryHash(bytes))
      places.set(hash, [...(places.get(hash) ?? []), index++])
    }
  }
  return places
}

async function wrongAccounts(ledger: LedgerClient, lanes: readonly SettlingLane[], units: readonly number[]) {
  let wrong = 0
  for (const [i, { payee }] of lanes.entries()) {
    const { earned } = await ledger.account(payee.hex)
    if (earned !== BigInt(2 * (units[i] as number))) wrong++
  }
  for (const payer of new Set(lanes.map((lane) => lane.payer))) {
    const mine = lanes.flatMap((lane, i) => (lane.payer === payer ? [units[i] as number] : []))
    const left = lanes.filter((lane) => lane.payer === payer).reduce((sum, lane) => sum + lane.units, 0)
    const { frozen } = await ledger.account(payer.hex)
    if (frozen !== BigInt(2 * (left - mine.reduce((sum, unit) => sum + unit, 0)))) wrong++
  }
  return wrong
}
