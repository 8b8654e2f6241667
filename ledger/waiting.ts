/**
 * What is to be sequenced next: a part of what waits that is closed, so that all that an entry rests on is in the log
 * or comes before it here. It is read in an order that makes it so, while others write.
 *
 * 1. pointers to redemptions,
 * 2. commands, from the latest to the earliest,
 * 3. pointers again.
 *
 * A redemption of 1 rests on its claim, and on the redemptions of its lane before it. The claim was written before the
 * pointer, so 2 finds it; so were their pointers, so 3 finds those. A command of 2 rests on commands that 2 finds,
 * being earlier ones, and on redemptions of its lanes, which 3 finds. Of what only 3 finds, no more than these is taken:
 * with the rest, what it rests on may be missing.
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

/** @param round of a shard: only what waits of rounds before this one */
export type Collect = (size: number, round?: number) => Promise<readonly Waiting[]>

/** @returns what collects, the earliest first */
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
    for (const { pointer } of lost) await fillSlot(store, pointer)
  }

  return async (_, round) => {
    const before = located(await readPointers(store, round))
    const commands = await readCommands(store, round)
    if (before.length === 0 && commands.length === 0) return []
    const followed = await follow(needed(before, commands, located(await readPointers(store, round))))
    await wait(followed.unmet)
    await dropAll(followed.dead)
    return [...commands.map(fromCommand), ...followed.redemptions].toSorted(inOrder)
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
    for (const key of keys.values()) await dropPointers(store, key, (pointer) => texts.has(pointerText(pointer)))
  }
}

const located = (groups: readonly Waits<readonly Pointer[]>[]): Located[] =>
  groups.flatMap(({ key, value }) => value.map((pointer) => ({ key, pointer })))

/** Of the pointers read last, those that were there before, and those that what was there before comes after. */
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
