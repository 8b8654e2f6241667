/**
 * Commands in, receipts out. An accepted command is one conditional write: every item that the decision rests on with
 * its version as condition, and the entry among what waits to be sequenced. So there is no moment at which credits
 * have moved without their entry, and a command whose answer was lost finds its own traces when it comes again.
 *
 * A redemption by the key that claimed rests on its lane alone. It is the put of one slot, which holds the entry, after
 * a pointer to it was put among what waits (pending.ts).
 *
 * The receipt promises from the time of the decision on. Where the store was slow, so that nothing is written a while
 * after, it is decided anew.
 */
import type { Bytes } from '../protocol/bytes.ts'
import { decide, prepare, type Outcome, type Prepared } from '../protocol/arbiter.ts'
import type { Accepted } from '../protocol/arbiter/items.ts'
import type { Command } from '../protocol/arbiter/step.ts'
import type { Draft } from '../protocol/arbiter/view.ts'
import { decodeEntry } from '../protocol/entry.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { shardOf } from '../protocol/arbiter/shard-of.ts'
import type { Change, Store } from '../protocol/store.ts'
import { requireCountable } from './balances.ts'
import type { LedgerContext } from './context.ts'
import type { IsWaiting } from './lag.ts'
import { commandChange, createCompany, createPointing, isPending, MARK_BYTES } from './pending.ts'
import { shardsOf } from './shards.ts'
import { changeOf, isLane, redemptionSlot, slotAfter, viewOf, type Versioned } from './state.ts'
import { createTurn } from './turn.ts'

export interface Acceptance {
  readonly accepted: Accepted
  /** It was accepted before, and this is the answer that was given then. */
  readonly isRepeat: boolean
}

/** @throws Problem of the rules, `conflict` when other changes keep coming first, `ledger-busy`, `store-unavailable`: then it is safe to repeat */
export type Accept = (command: Command) => Promise<Acceptance>

/**
 * @param onAccepted told when an entry waits to be sequenced, and how to find out whether it still does
 * @param onCommand throws when no command is to be accepted for now
 */
export function createAccept(
  context: LedgerContext,
  onAccepted: (isWaiting: IsWaiting) => void,
  onCommand: () => Promise<void>,
): Accept {
  const { environment, recent, store } = context
  const { clock, random } = environment
  const inTurn = createTurn()
  const company = createCompany()
  const shards = shardsOf(context).map((shard) => ({ ...shard, point: createPointing(shard, company) }))
  const [only, ...others] = shards as [Shard, ...Shard[]]

  const shardFor = (bytes: Bytes): Shard =>
    others.length === 0 ? only : (shards[shardOf(decodeEntry(bytes), shards.length)] as Shard)

  const isOld = ({ timeMs }: Decided): boolean => clock.now() - timeMs > limits.decisionMs

  /** @returns undefined when other changes came first, or the decision is old by now */
  async function write(
    decided: Decided & { readonly outcome: AcceptedOutcome },
    leave: () => void,
  ): Promise<IsWaiting | undefined> {
    const slot = settlementOf(decided)
    const shard = shardFor(decided.outcome.bytes)
    if (!slot) return writeCommand(decided, shard)
    const pointer = { ...slotAfter(slot.key, slot.before), mark: random.bytes(MARK_BYTES) }
    const pointed = shard.point(pointer)
    leave()
    const group = await pointed
    if (!group.isOfLedger || isOld(decided)) return undefined
    // Whoever settles goes on as soon as this is written: the next group is better off with that pointer in it.
    const leaveAgain = company.enter()
    const change = redemptionSlot(pointer, decided.outcome.bytes, slot.before.whole)
    const isPut = await store.write([change]).finally(leaveAgain)
    return isPut ? () => isPending(shard.store, group, pointer) : undefined
  }

  async function writeCommand(decided: Decided & { readonly outcome: AcceptedOutcome }, shard: Shard) {
    const [waiting, ...changes] = changesOf(decided, await shard.openRound?.())
    if (isOld(decided)) return undefined
    const isWritten = await shard.store.write([waiting, ...changes])
    return isWritten ? async () => (await shard.store.get(waiting.pk, waiting.sk)) !== undefined : undefined
  }

  const decideNow = (from: Store, prepared: Prepared): Promise<Decided> => decideInTime(from, prepared, clock.now())

  /** A redemption, from what is known here of its lane. @returns undefined unless it is accepted then, and holds if its write does */
  async function decideAtOnce(prepared: Prepared): Promise<Decided | undefined> {
    if (prepared.command.kind !== 'redeem') return undefined
    const decided = await decideNow(recent, prepared).catch(() => undefined)
    return decided?.outcome.kind === 'accepted' ? decided : undefined
  }

  /** @returns undefined when other changes came first */
  async function attemptOnce(prepared: Prepared, leave: () => void, isFirst: boolean): Promise<Acceptance | undefined> {
    const { outcome, ...decided } = (isFirst && (await decideAtOnce(prepared))) || (await decideNow(store, prepared))
    if (outcome.kind === 'repeat') return { accepted: outcome.accepted, isRepeat: true }
    await requireCountable(store, decided.view.touched())
    const isWaiting = await write({ ...decided, outcome }, leave)
    if (!isWaiting) return undefined
    onAccepted(isWaiting)
    return { accepted: outcome.accepted, isRepeat: false }
  }

  async function attempt(prepared: Prepared): Promise<Acceptance> {
    const enter = prepared.command.kind === 'redeem' ? company.enter : () => () => {}
    for (let tries = 0; tries < limits.writeAttempts; tries++) {
      const leave = enter()
      const acceptance = await attemptOnce(prepared, leave, tries === 0).finally(leave)
      if (acceptance) return acceptance
      await clock.sleep(pauseMs(tries, random.bytes(1)))
    }
    throw new Problem('conflict', 'Other changes to the same accounts keep coming first. Try again.')
  }

  return async (command) => {
    await onCommand()
    const prepared = prepare(command)
    // Redemptions meet on a lane at most; what else touches shared accounts would only make its neighbours try again.
    return command.kind === 'redeem' ? attempt(prepared) : inTurn(() => attempt(prepared))
  }
}

/** Up to a time that doubles from 2 ms to 256 ms. */
const pauseMs = (tries: number, random: Bytes): number => (2 ** Math.min(tries + 1, 8) * (random[0] as number)) / 255

interface Shard extends LedgerContext {
  readonly point: ReturnType<typeof createPointing>
}

type AcceptedOutcome = Outcome & { readonly kind: 'accepted' }

interface Decided {
  readonly prepared: Prepared
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
    if (outcome && (outcome.kind === 'repeat' || view.earliestMs() <= timeMs))
      return { prepared, outcome, view, timeMs }
    timeMs = view.earliestMs()
  }
}

/** The one item that a redemption touches, unless it touches others too: who may redeem had to be looked up then. */
function settlementOf({ prepared, view }: Decided) {
  const [only, ...others] = view.touched()
  const whole = only?.before?.whole
  if (prepared.command.kind !== 'redeem' || others.length > 0 || !only?.before || whole === undefined) return undefined
  return { key: only.key, before: { ...only.before, whole } }
}

function changesOf(
  { outcome, timeMs, view }: Decided & { readonly outcome: AcceptedOutcome },
  round: number | undefined,
): [waiting: Change, ...Change[]] {
  const touched = view.touched()
  const lanes = touched.filter(({ key }) => isLane(key)).map(({ key, before }) => slotAfter(key, before))
  const waiting = commandChange(timeMs, outcome.accepted.entry, { entry: outcome.bytes, lanes }, round)
  return [waiting, ...touched.map((item) => changeOf(item, timeMs))]
}
