/**
 * Commands in, receipts out. An accepted command is one conditional write: every item that the decision rests on with
 * its version as condition, and the entry among what waits to be sequenced. So there is no moment at which credits
 * have moved without their entry, and a command whose answer was lost finds its own traces when it comes again.
 */
import { concat, type Bytes } from '../protocol/bytes.ts'
import { decide, prepare, type Outcome, type Prepared } from '../protocol/arbiter.ts'
import { isFixed, type Accepted } from '../protocol/arbiter/items.ts'
import type { Command } from '../protocol/arbiter/step.ts'
import { draft, type Draft, type Key, type Stored } from '../protocol/arbiter/view.ts'
import type { Environment } from '../protocol/environment.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Change, Item, Store } from '../protocol/store.ts'
import { logKeys } from './log.ts'
import { createTurn } from './turn.ts'

export interface Acceptance {
  readonly accepted: Accepted
  /** It was accepted before, and this is the answer that was given then. */
  readonly isRepeat: boolean
}

/** @throws Problem of the rules, `conflict` when other changes keep coming first, `store-unavailable`: then it is safe to repeat */
export type Accept = (command: Command) => Promise<Acceptance>

/** An item with its version in the store. */
export interface Versioned extends Stored {
  readonly version: number
}

/** In the store, the time of the entry that touched an item last stands before its body, as a uint64. */
const STAMP_BYTES = 8

export function stamp(timeMs: number, body: Bytes): Bytes {
  const bytes = concat(new Uint8Array(STAMP_BYTES), body)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(timeMs))
  return bytes
}

export const unstamp = ({ version, body }: Item): Versioned => ({
  version,
  timeMs: Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0)),
  body: body.slice(STAMP_BYTES),
})

export async function load(store: Store, { pk, sk }: Key): Promise<Versioned | undefined> {
  const item = await store.get(pk, sk)
  return item && unstamp(item)
}

/** To read with the arbiter's rules; what they change in it goes nowhere. */
export const viewOf = (store: Store): Draft<Versioned> => draft((key) => load(store, key), isFixed)

/** @param onAccepted told when an entry waits to be sequenced */
export function createAccept({ clock, random }: Environment, store: Store, onAccepted: () => void): Accept {
  const inTurn = createTurn()

  async function attempt(prepared: Prepared): Promise<Acceptance> {
    for (let tries = 0; tries < limits.writeAttempts; tries++) {
      const { outcome, view, timeMs } = await decideInTime(store, prepared, clock.now())
      if (outcome.kind === 'repeat') return { accepted: outcome.accepted, isRepeat: true }
      if (await store.write(changesOf(view, outcome, timeMs))) {
        onAccepted()
        return { accepted: outcome.accepted, isRepeat: false }
      }
      await clock.sleep(pauseMs(tries, random.bytes(1)))
    }
    throw new Problem('conflict', 'Other changes to the same accounts keep coming first. Try again.')
  }

  return async (command) => {
    const prepared = prepare(command)
    // Redemptions meet on a lane at most; what else touches shared accounts would only make its neighbours try again.
    return command.kind === 'redeem' ? attempt(prepared) : inTurn(() => attempt(prepared))
  }
}

/** Up to a time that doubles from 2 ms to 256 ms. */
const pauseMs = (tries: number, random: Bytes): number => (2 ** Math.min(tries + 1, 8) * (random[0] as number)) / 255

interface Decided {
  readonly outcome: Outcome
  readonly view: Draft<Versioned>
  readonly timeMs: number
}

/**
 * The entry's time is the clock's, or just after what it rests on when the clock is behind that: a clock that steps
 * back, or several that differ, never put a cause after its effect. Nothing else is held up by a clock that ran ahead.
 */
async function decideInTime(store: Store, prepared: Prepared, nowMs: number): Promise<Decided> {
  for (let timeMs = nowMs; ;) {
    const view = viewOf(store)
    const outcome = await decide(view, prepared, timeMs).catch((error: unknown) => {
      if (view.earliestMs() <= timeMs) throw error
    })
    if (outcome && (outcome.kind === 'repeat' || view.earliestMs() <= timeMs)) return { outcome, view, timeMs }
    timeMs = view.earliestMs()
  }
}

function changesOf(view: Draft<Versioned>, outcome: Outcome & { kind: 'accepted' }, timeMs: number): Change[] {
  const pending = { ...logKeys.pending(timeMs, outcome.accepted.entry), expect: 0, body: outcome.bytes }
  return [
    pending,
    ...view.touched().map(({ key, before, body }) => ({
      ...key,
      expect: before?.version ?? 0,
      ...(body && { body: stamp(timeMs, body) }),
    })),
  ]
}
