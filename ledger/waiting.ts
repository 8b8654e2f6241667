/**
 * What is to be sequenced next: a part of what waits that is closed, so that all that an entry rests on is in the log
 * or comes before it here. It is read in an order that makes it so, while others write.
 *
 * 1. pointers to redemptions, of which the oldest groups are taken, up to so many pointers,
 * 2. commands, from the latest to the earliest: all of them,
 * 3. pointers again.
 *
 * A redemption of 1 rests on its claim, and on the redemptions of its lane before it. The claim was written before the
 * pointer, so 2 finds it; so were their pointers, so 3 finds those. A command of 2 rests on commands that 2 finds,
 * being earlier ones, and on redemptions of its lanes, which 3 finds. Of what 3 finds, no more is taken than these and
 * what 1 took: with the rest, what it rests on may be missing.
 *
 * To list pointers and commands takes few reads, and to follow a pointer takes one. So how long a part takes is bounded
 * by the pointers that it takes, however much waits. Which groups are the oldest, the clocks of those who wrote them say;
 * where these differ, what 3 adds grows, and a part is closed all the same.
 */
import { toHex, type Bytes } from '../protocol/bytes.ts'
import type { Key } from '../protocol/arbiter/view.ts'
import { decodeEntry, entryHash, type Entry } from '../protocol/entry.ts'
import type { LedgerContext } from './context.ts'
import { dropPointers, readCommands, readPointers, type Pointer, type Waits, type WaitingCommand } from './pending.ts'
import type { Slot } from './places.ts'
import { fillSlot, readRedeemed } from './state.ts'

export interface Waiting {
  readonly bytes: Bytes
  readonly entry: Entry
  /** Of the leaf. */
  readonly hash: Bytes
  /** Where it waits; absent for what the log itself adds. */
  readonly key?: Key
  /** Set for a redemption: where it lies. */
  readonly pointer?: Pointer
}

/** How long a pointer may wait for its redemption. After that, the slot is filled: the redemption never comes. */
const PATIENCE_MS = 5000

interface Located {
  readonly key: Key
  readonly pointer: Pointer
}

const slotText = ({ lane, seq }: Slot): string => `${toHex(lane)}/${seq}`
const pointerText = (pointer: Pointer): string => `${slotText(pointer)}/${toHex(pointer.mark)}`

export interface Part {
  /** The earliest first. */
  readonly waiting: readonly Waiting[]
  /** Whether this is all that waits. */
  readonly isAll: boolean
}

/** What a part is of. */
export interface Wanted {
  /** Of the log that it is to go on from. */
  readonly size: number
  /** Pointers to follow; more when what they rest on waits too. */
  readonly most: number
  /** Of a shard: only what waits of rounds before this one. */
  readonly round: number | undefined
}

/** Repeated calls reach `isAll`: a pointer that pointed to nothing in one part does not count towards `most` in the next. */
export type Collect = (wanted: Wanted) => Promise<Part>

export function createCollector({ environment: { clock }, store }: LedgerContext): Collect {
  /** Pointers to nothing yet, and since when. */
  let unmet = new Map<string, number>()

  /** Only this clock is asked how long it has been; that it may step costs a retry at most. */
  async function wait(pointers: readonly Located[]): Promise<void> {
    const nowMs = clock.now()
    const since = new Map(
      pointers.map(({ pointer }) => [pointerText(pointer), unmet.get(pointerText(pointer)) ?? nowMs]),
    )
    unmet = since
    const lost = pointers.filter(
      ({ pointer }) => Math.abs(nowMs - (since.get(pointerText(pointer)) ?? nowMs)) >= PATIENCE_MS,
    )
    await Promise.all(lost.map(({ pointer }) => fillSlot(store, pointer)))
  }

  /** The oldest groups, up to the one that makes it so many pointers. What pointed to nothing the last time does not count. */
  function oldest(groups: readonly Group[], most: number): readonly Group[] {
    let pointers = 0
    const last = groups.findIndex(
      ({ value }) => (pointers += value.filter((one) => !unmet.has(pointerText(one))).length) >= most,
    )
    return last < 0 ? groups : groups.slice(0, last + 1)
  }

  return async ({ most, round }) => {
    const groups = (await readPointers(store, round)).toSorted(byAge)
    const commands = await readCommands(store, round)
    const taken = oldest(groups, most)
    const isAll = taken.length === groups.length
    if (taken.length === 0 && commands.length === 0) return { waiting: [], isAll }
    const followed = await follow(needed(located(taken), commands, located(await readPointers(store, round))))
    await wait(followed.unmet)
    await dropAll(followed.dead)
    return { waiting: [...commands.map(fromCommand), ...followed.redemptions].toSorted(inOrder), isAll }
  }

  async function follow(pointers: readonly Located[]) {
    const found: { redemptions: Waiting[]; unmet: Located[]; dead: Located[] } = {
      redemptions: [],
      unmet: [],
      dead: [],
    }
    const slots = await Promise.all(pointers.map(({ pointer }) => readRedeemed(store, pointer)))
    for (const [i, slot] of slots.entries()) {
      const { key, pointer } = pointers[i] as Located
      if (slot === undefined) found.unmet.push({ key, pointer })
      else if (slot && toHex(slot.mark) === toHex(pointer.mark))
        found.redemptions.push({ ...entryOf(slot.entry), key, pointer })
      else found.dead.push({ key, pointer })
    }
    return found
  }

  async function dropAll(dead: readonly Located[]): Promise<void> {
    const texts = new Set(dead.map(({ pointer }) => pointerText(pointer)))
    const keys = new Map(dead.map(({ key }) => [`${key.pk} ${key.sk}`, key]))
    const isDead = (pointer: Pointer): boolean => texts.has(pointerText(pointer))
    await Promise.all(Array.from(keys.values(), (key) => dropPointers(store, key, isDead)))
  }
}

type Group = Waits<readonly Pointer[]>

/** Keys begin with the time of the write (pending.ts). */
const byAge = (a: Group, b: Group): number => (a.key.sk < b.key.sk ? -1 : 1)

const located = (groups: readonly Group[]): Located[] =>
  groups.flatMap(({ key, value }) => value.map((pointer) => ({ key, pointer })))

/** Of the pointers read last, those that were taken before, and those that what was taken comes after. */
function needed(
  before: readonly Located[],
  commands: readonly Waits<WaitingCommand>[],
  after: readonly Located[],
): Located[] {
  const known = new Set(before.map(({ pointer }) => pointerText(pointer)))
  const latest = new Map<string, number>()
  const taken = [...before.map(({ pointer }): Slot => pointer), ...commands.flatMap(({ value }) => value.lanes)]
  for (const { lane, seq } of taken) latest.set(toHex(lane), Math.max(seq, latest.get(toHex(lane)) ?? 0))
  return after.filter(
    ({ pointer }) => known.has(pointerText(pointer)) || pointer.seq < (latest.get(toHex(pointer.lane)) ?? 0),
  )
}

const fromCommand = ({ key, value }: Waits<WaitingCommand>): Waiting => ({ ...entryOf(value.entry), key })

const entryOf = (bytes: Bytes) => ({ bytes, entry: decodeEntry(bytes), hash: entryHash(bytes) })

const inOrder = (a: Waiting, b: Waiting): number => a.entry.time - b.entry.time
