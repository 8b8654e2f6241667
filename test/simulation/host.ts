/**
 * A host of the simulated network: what runs there, its store and disk, which outlive it, and its faults. A crash ends
 * the process between two durable writes, or in one: the write is made or not, and nobody is told.
 */
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Storage } from '../../agent/storage/storage.ts'
import type { Clock, Environment } from '../../protocol/environment.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { createFaultyStore, WRITE_FAULTS, type WriteFault } from '../faults/faulty-store.ts'
import { beginLife, environmentWithin, within, type Life } from './life.ts'
import { createDisk, type Disk } from './memory-storage.ts'
import type { Handler } from './network.ts'
import type { World } from './world.ts'

/** One instance of a service. */
export interface Service {
  readonly fetch: Handler
  start(): Promise<void> | void
  stop(): Promise<void>
}

/** What an instance is built on. It lasts as long as the process. */
export interface Ground {
  readonly environment: Environment
  readonly store: Store
  readonly storage: Storage
  readonly onFault: (error: unknown) => void
}

/** Shares of the durable writes, and of the operations on the store. */
export interface Faults {
  /** Writes that fail; half of them are made all the same. */
  readonly fails: number
  /** Writes in which the process dies; half of them are made. */
  readonly crashes: number
  /** Operations that take up to `slowMs`. */
  readonly slow: number
  readonly slowMs: number
}

export const NO_FAULTS: Faults = { fails: 0, crashes: 0, slow: 0, slowMs: 0 }

export interface Host {
  readonly name: string
  readonly url: string
  readonly disk: Disk
  /** What the store holds, past all faults. */
  readonly items: Store
  /** Since when it has been up without a fault, leaps not counted; undefined while it is down. */
  readonly upSinceMs: number | undefined
  /** It does not come back. */
  readonly isGone: boolean
  /** How often the process died. */
  readonly crashes: number
  /** Files that were begun on the disk without anybody being told, as far as can be known. */
  readonly lostWrites: number
  /** How far its clock is ahead. */
  skewMs: number
  faults: Faults
  /** Until then, what is written to the disk does not fit. */
  fullUntilMs: number
  /** Resolves when the first instance is up. */
  start(): Promise<void>
  /** The process dies; another is started after a while. */
  crash(why: string, downMs?: number): void
  /** The process is ended in peace, and another started. */
  restart(): Promise<void>
  /** It goes, and does not come back. */
  vanish(): void
  onWrite(listener: (changes: readonly Change[]) => void): void
}

export interface HostOptions {
  readonly world: World
  readonly name: string
  readonly build: (ground: Ground) => Promise<Service> | Service
  /** The store of another host, which is this one's too. */
  readonly items?: Store
}

const STOP_WITHIN_MS = 120_000
const DOWN_MS = [50, 5_000] as const
const LONG_DOWN_MS = [10_000, 60_000] as const
const LONG_DOWNS = 0.2
/**
 * What an instance may report without an invariant being broken: others did not answer, or its store or disk did not; a
 * ledger that was away a while holds back.
 */
const EXPECTED: ReadonlySet<ProblemCode> = new Set([
  'peer-failed',
  'store-unavailable',
  'storage-unavailable',
  'storage-full',
  'conflict',
  'ledger-busy',
])

export function createHost({ world, name, build, items = openSqlite(':memory:') }: HostOptions): Host {
  const { scheduler, network, trace } = world
  const chance = world.chance.fork(`host/${name}`)
  const disk = createDisk()
  const listeners: ((changes: readonly Change[]) => void)[] = []
  const transport = network.transportOf(name)
  let life: Life | undefined
  let service: Service | undefined
  const state = {
    upSinceMs: undefined as number | undefined,
    isGone: false,
    crashes: 0,
    lostWrites: 0,
    skewMs: 0,
    faults: NO_FAULTS,
    fullUntilMs: 0,
  }

  function groundFor(mine: Life): Ground {
    const clock: Clock = { ...scheduler, now: () => scheduler.now() + state.skewMs }
    return {
      environment: environmentWithin(mine, { clock, random: chance, transport }),
      store: within(mine, slowStore()),
      storage: within(mine, faultyStorage(disk.open(chance))),
      onFault,
    }
  }

  function onFault(error: unknown): void {
    trace.note(`${name} reports ${String(error)}`)
    if (error instanceof Problem && EXPECTED.has(error.code)) return
    world.fail(
      `${name} meets an unexpected fault: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
  }

  /** What befalls a durable write. A process that dies in it hears of nothing any more. */
  function faultOf(what: string): WriteFault | undefined {
    world.count('writes')
    const { crashes, fails } = state.faults
    const draw = chance.fraction()
    if (draw >= crashes + fails) return undefined
    const fault = chance.pick(WRITE_FAULTS)
    state.upSinceMs &&= scheduler.awakeMs()
    state.lostWrites++
    if (draw < crashes) crash(`${what} ${fault}`)
    else world.count('failedWrites')
    trace.note(`${name} ${what} ${fault}`)
    return fault
  }

  async function slowly<T>(work: () => Promise<T>): Promise<T> {
    if (chance.hits(state.faults.slow)) await scheduler.sleep(chance.fraction() * state.faults.slowMs)
    return work()
  }

  function observedStore(): Store {
    return {
      ...items,
      async write(changes) {
        const written = await items.write(changes)
        trace.note(`${name} writes ${changes.map(({ pk, sk }) => `${pk} ${sk}`).join(', ')}: ${written}`)
        if (written) for (const listener of listeners) listener(changes)
        return written
      },
    }
  }

  function slowStore(): Store {
    const store = createFaultyStore(observedStore())
    store.setFaults(() => faultOf('write'))
    return {
      get: (pk, sk) => slowly(() => store.get(pk, sk)),
      list: (pk, range) => slowly(() => store.list(pk, range)),
      write: (changes) => slowly(() => store.write(changes)),
      close: () => undefined,
    }
  }

  function faultyStorage(storage: Storage): Storage {
    const durably = <T>(what: string, write: () => Promise<T>): Promise<T> =>
      slowly(async () => {
        trace.note(`${name} does ${what}`)
        const fault = faultOf(what)
        if (fault === 'lost') throw storageUnavailable()
        const written = await write()
        if (fault === 'unanswered') throw storageUnavailable()
        return written
      })
    const inRoom = <T>(what: string, write: () => Promise<T>): Promise<T> =>
      durably(what, () => {
        if (scheduler.now() < state.fullUntilMs) throw new Problem('storage-full', 'The disk is full.')
        return write()
      })
    return {
      ...storage,
      read: (file, range, into) =>
        slowly(() => {
          if (chance.hits(state.faults.fails)) throw storageUnavailable()
          return storage.read(file, range, into)
        }),
      begin: (file, size) => inRoom(`begin ${file}`, () => storage.begin(file, size)),
      put: (write, offset, part) => inRoom(`put ${write.name} ${offset}`, () => storage.put(write, offset, part)),
      commit: (write) => durably(`commit ${write.name}`, () => storage.commit(write)),
      abort: (write) => durably(`abort ${write.name}`, () => storage.abort(write)),
    }
  }

  async function boot(): Promise<void> {
    const mine = beginLife()
    life = mine
    const built = await build(groundFor(mine))
    if (mine.isOver) return
    service = built
    await mine.during(Promise.resolve(built.start()))
    network.attach(name, built.fetch)
    state.upSinceMs = scheduler.awakeMs()
    trace.note(`${name} is up`)
  }

  /** What cannot start is tried again, as whoever runs it would. */
  async function bootUntilUp(): Promise<void> {
    await boot().catch((error: unknown) => {
      onFault(error)
      crash('start', 1_000)
    })
  }

  function end(): void {
    life?.end()
    service = undefined
    state.upSinceMs = undefined
    network.attach(name, undefined)
  }

  function crash(why: string, downMs = downTime()): void {
    if (state.isGone || life?.isOver) return
    world.count('crashes')
    state.crashes++
    state.lostWrites++
    trace.note(`${name} crashes: ${why}; down for ${downMs.toFixed(0)} ms`)
    end()
    void scheduler.sleep(downMs).then(() => (state.isGone ? undefined : bootUntilUp()))
  }

  function downTime(): number {
    const [least, most] = chance.hits(LONG_DOWNS) ? LONG_DOWN_MS : DOWN_MS
    return least + chance.fraction() * (most - least)
  }

  async function restart(): Promise<void> {
    const [ending, stopping] = [life, service]
    if (!ending || ending.isOver || !stopping) return
    trace.note(`${name} restarts`)
    network.attach(name, undefined)
    const isLate = scheduler.sleep(STOP_WITHIN_MS).then(() => 'late')
    const outcome = await Promise.race([ending.during(stopping.stop()), isLate])
    if (outcome === 'late' && !ending.isOver) world.fail(`${name} does not stop within ${STOP_WITHIN_MS} ms`)
    if (ending.isOver) return
    end()
    await bootUntilUp()
  }

  world.onEnd(() => {
    end()
    items.close()
    disk.wipe()
  })

  return Object.assign(state, {
    name,
    url: `https://${name}`,
    disk,
    items,
    crash,
    restart,
    start: bootUntilUp,
    vanish() {
      state.isGone = true
      end()
    },
    onWrite: (listener: (changes: readonly Change[]) => void) => void listeners.push(listener),
  })
}

const storageUnavailable = (): Problem => new Problem('storage-unavailable', 'The storage did not answer.')
