/**
 * The only writer of the log. There may be several at once, here and in other processes.
 *
 * 1. *Finish*: what the head says was appended last, and still waits, is taken off the waiting list.
 * 2. Read what waits (waiting.ts), and the items that the log is to grow by, as they are.
 * 3. *Take over*, when any of these holds what the head does not know of: another sequencer put it there, and died or is
 *    about to swap the head. The head is written again as it is, so that the other cannot.
 * 4. *Put* the runs of entries and the tiles, each under the condition that it still is as it was read.
 * 5. *Swap* the head for the new signed checkpoint, under the condition that nobody else wrote it. This appends, and
 *    nothing else does.
 * 6. Finish, and so on.
 *
 * A crash, or an answer that is lost:
 * - before 5: what was put lies beyond the size of the head, where nobody reads it. The next sequencer takes over.
 * - in 5: the head is swapped or not. The next run goes on from the head that it finds.
 * - after 5: the next run finishes before it reads what waits. So what was appended never waits again, and nothing is
 *   appended twice. What was not appended still waits, and nothing is lost.
 *
 * Two at once: of their puts to the same place, one fails, and starts again. To overwrite what the other has put, a
 * sequencer must have read it; so it takes over first, and the swap of the other fails. A swap that succeeds is
 * therefore of what its sequencer put.
 */
import { toHex } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { Problem } from '../protocol/problem.ts'
import { limits } from '../protocol/limits.ts'
import type { Change } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { growthOf, nextHead, takeBatch } from './growth.ts'
import { encodeHead, logKeys, readHead, type Head } from './log.ts'
import { dropPointers } from './pending.ts'
import { bundleOf, readRuns, type PlacedRun } from './runs.ts'
import { writeDirectory } from './statement.ts'
import { createCollector, type Collect, type Waiting } from './waiting.ts'

export interface Sequencer {
  /**
   * Appends all that waits.
   * @returns how many entries this run appended
   * @throws Problem `store-unavailable`: to be run again
   */
  readonly sequence: () => Promise<number>
  /** As `sequence`, but leaves it to another process that is at it. */
  readonly assist: () => Promise<number>
  /** Whether another process is at it. */
  readonly isStandby: () => boolean
}

/** Another that has not moved the head for so long is not at it any more: well within the merge delay. */
const STANDBY_MS = 1000
/** How often it starts again after another came first. */
const TRIES = 64

/** An append that was beaten by another sequencer has none. */
interface Outcome {
  readonly appended: number
  readonly isBeaten: boolean
}

/** @param collect what the log is to grow by; what waits unless given */
export function createSequencer(context: LedgerContext, collect: Collect = createCollector(context)): Sequencer {
  const { environment, openRound, store } = context
  const { clock } = environment
  /** Versions of the head: the one this sequencer wrote last, the one up to which all is finished, one of another's. */
  let own: number | undefined
  let finished: number | undefined
  let seen: number | undefined
  let standbyMs: number | undefined

  async function run(): Promise<Outcome> {
    const head = await readHead(store)
    await finish(head)
    const round = await openRound?.()
    if (round !== undefined && round === (head.round ?? 0)) return { appended: 0, isBeaten: false }
    return appendAll(head, await collect(head.size, round), round)
  }

  /** @param round that the head has not come to yet: it does with the last of what waits, or with nothing */
  async function appendAll(from: Head, waiting: readonly Waiting[], round: number | undefined): Promise<Outcome> {
    let head = from
    for (let done = 0; done < waiting.length || head.round !== round;) {
      const batch = takeBatch(waiting.slice(done))
      const isLast = done + batch.length === waiting.length
      const next = await append(head, batch, isLast ? round : head.round)
      if (!next) return { appended: done, isBeaten: true }
      done += batch.length
      head = next
      await finish(head)
    }
    return { appended: waiting.length, isBeaten: false }
  }

  async function append(head: Head, batch: readonly Waiting[], round: number | undefined): Promise<Head | undefined> {
    const { changes, isClear } = await growthOf(store, head, batch)
    const from = isClear ? head : await swap(head, head)
    if (!from) return undefined
    const areWritten = await Promise.all(changes.map((change) => store.write([change])))
    return areWritten.every(Boolean) ? swap(from, nextHead(context, head, batch, round)) : undefined
  }

  /** @returns the head under its new version; undefined when another came first */
  async function swap({ version }: Head, to: Head): Promise<Head | undefined> {
    if (!(await store.write([{ ...logKeys.head, expect: version, body: encodeHead(to) }]))) return undefined
    own = version + 1
    return { ...to, version: own }
  }

  async function finish(head: Head): Promise<void> {
    if (finished === head.version) return
    const runs = await readLast(head)
    for (const run of runs) await takeOff(run)
    for (let bundle = bundleOf(head.from); bundle < bundleOf(head.size); bundle++) {
      await writeDirectory(store, bundle, head.size)
    }
    finished = head.version
  }

  async function readLast({ from, size }: Head): Promise<PlacedRun[]> {
    const runs: PlacedRun[] = []
    for (let at = from; at < size; at = (bundleOf(at) + 1) * limits.entriesPerTile) {
      runs.push(...(await readRuns(store, bundleOf(at), size)))
    }
    return runs.filter(({ first }) => first >= from)
  }

  async function takeOff({ entries, taken }: PlacedRun): Promise<void> {
    const followed = new Set(entries.map((place) => ('lane' in place ? `${toHex(place.lane)}/${place.seq}` : '')))
    const [groups, commands] = partition(taken)
    for (const key of groups) {
      await dropPointers(store, key, ({ lane, seq }) => followed.has(`${toHex(lane)}/${seq}`))
    }
    for (let at = 0; at < commands.length; at += limits.changesPerWrite) {
      await store.write(commands.slice(at, at + limits.changesPerWrite).map(removal))
    }
  }

  const standBy = (): number => {
    standbyMs = clock.now()
    return 0
  }

  return {
    async sequence() {
      let appended = 0
      for (let tries = 0; tries < TRIES; tries++) {
        const outcome = await run()
        appended += outcome.appended
        if (!outcome.isBeaten) return appended
      }
      throw new Problem('store-unavailable', 'Other sequencers keep coming first.')
    },
    async assist() {
      if (standbyMs !== undefined && Math.abs(clock.now() - standbyMs) < STANDBY_MS) return 0
      const { version } = await readHead(store)
      const isMoved = seen !== undefined && version !== own && version !== seen
      seen = version
      if (isMoved) return standBy()
      standbyMs = undefined
      const { appended, isBeaten } = await run()
      return isBeaten ? standBy() : appended
    },
    isStandby: () => standbyMs !== undefined,
  }
}

const removal = (key: Key): Change => ({ ...key, expect: 'any' })

const isGroup = ({ pk }: Key): boolean => pk.startsWith('pointers/')

/** Groups of pointers, which hold others too, and commands. */
function partition(keys: readonly Key[]): readonly [groups: Key[], commands: Key[]] {
  return [keys.filter(isGroup), keys.filter((key) => !isGroup(key))]
}
