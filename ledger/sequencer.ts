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
 * 6. Finish, and so on with the next part, until one is all that waits.
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
 *
 * Which of them is at it, and which stand by, says lead.ts. For them to see that it lives, it moves the head often: a part
 * is as large as is appended in a short while, and small at first.
 */
import { toHex } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { Problem } from '../protocol/problem.ts'
import { limits } from '../protocol/limits.ts'
import type { Change } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { growthOf, nextHead, takeBatch } from './growth.ts'
import { createLead } from './lead.ts'
import { encodeHead, logKeys, readHead, type Head } from './log.ts'
import { dropPointers, isWaiting } from './pending.ts'
import type { Slot } from './places.ts'
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
  /**
   * Appends a part of what waits, unless another process is at it: undefined then.
   * @throws Problem `store-unavailable`: to be run again
   */
  readonly assist: () => Promise<Progress | undefined>
  /** Whether no other process has been at it for a while. */
  readonly isSteady: () => boolean
}

export interface Progress {
  /** Entries. */
  readonly appended: number
  /** Whether nothing more waited when it began. */
  readonly isAll: boolean
}

/** How often it starts again after another came first. */
const TRIES = 64

/** Pointers in a part: so many at first, and at least and at most. */
const LEAST = 64
const MOST = 1024
/** How long a part should take: less than others stand by for (lead.ts). */
const PART_MS = 200

/** An append that was beaten by another sequencer has none. */
interface Outcome extends Progress {
  readonly isBeaten: boolean
}

/** @param collect what the log is to grow by; what waits unless given */
export function createSequencer(context: LedgerContext, collect: Collect = createCollector(context)): Sequencer {
  const { environment, openRound, store } = context
  const { clock } = environment
  const lead = createLead(context)
  /** Versions of the head: the one this sequencer wrote last, and the one up to which all is finished. */
  let own: number | undefined
  let finished: number | undefined
  let most = LEAST

  async function run(head: Head): Promise<Outcome> {
    const startedMs = clock.now()
    await finish(head)
    const round = await openRound?.()
    if (round !== undefined && round === (head.round ?? 0)) return { appended: 0, isAll: true, isBeaten: false }
    const { isAll, waiting } = await collect({ size: head.size, most, round })
    const outcome = await appendAll(head, waiting, isAll ? round : head.round)
    const isFast = Math.abs(clock.now() - startedMs) < PART_MS
    most = isFast ? Math.min(2 * most, MOST) : Math.max(most / 2, LEAST)
    return { ...outcome, isAll }
  }

  /** @param round that the head has not come to yet: it does with the last of what waits, or with nothing */
  async function appendAll(from: Head, waiting: readonly Waiting[], round: number | undefined) {
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
    await Promise.all(runs.map(takeOff))
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
    const isFollowed = ({ lane, seq }: Slot): boolean => followed.has(`${toHex(lane)}/${seq}`)
    await Promise.all(groups.map((key) => dropPointers(store, key, isFollowed)))
    for (let at = 0; at < commands.length; at += limits.changesPerWrite) {
      await store.write(commands.slice(at, at + limits.changesPerWrite).map(removal))
    }
  }

  /** Of a shard, what waits is only to be appended once its round is closed; then the head has to come to it in any case. */
  async function hasWork(head: Head): Promise<boolean> {
    const round = await openRound?.()
    return round === undefined ? isWaiting(store) : round !== (head.round ?? 0)
  }

  return {
    async sequence() {
      let appended = 0
      for (let tries = 0; tries < TRIES;) {
        const outcome = await run(await readHead(store))
        appended += outcome.appended
        if (outcome.isBeaten) tries++
        else if (outcome.isAll) return appended
      }
      throw new Problem('store-unavailable', 'Other sequencers keep coming first.')
    },
    async assist() {
      const head = await lead.take(own, hasWork)
      if (head === undefined) return undefined
      if (head === 'idle') return { appended: 0, isAll: true }
      const { appended, isAll, isBeaten } = await run(head)
      return { appended, isAll: isAll && !isBeaten }
    },
    isSteady: lead.isSteady,
  }
}

const removal = (key: Key): Change => ({ ...key, expect: 'any' })

const isGroup = ({ pk }: Key): boolean => pk.startsWith('pointers/')

/** Groups of pointers, which hold others too, and commands. */
function partition(keys: readonly Key[]): readonly [groups: Key[], commands: Key[]] {
  return [keys.filter(isGroup), keys.filter((key) => !isGroup(key))]
}
