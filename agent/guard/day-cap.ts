/**
 * What may be used up from one midnight (UTC) to the next, by all instances together. The count is in the store. An
 * instance takes a share of what is left in one conditional write and hands it out by itself, so that a piece costs no
 * write of its own; a share that dies with its instance counts as used until the day is over.
 */
import { Problem } from '../../protocol/problem.ts'
import { decideAndWrite } from '../../protocol/items.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface DayCap {
  /**
   * @param most of a day, as it is now; undefined: there is no cap, and nothing is counted
   * @returns how to give it back, where it is not used after all
   * @throws Problem `cap-reached`, with `parkUntil`: the midnight when it begins anew
   */
  take(amount: bigint, most: bigint | undefined): Promise<GiveBack>
  /** Whether as much is left, as far as is known here without asking. @throws Problem `cap-reached` */
  requireOpen(most: bigint | undefined): void
  /** Puts what is left of this instance's share back into the store. */
  release(): Promise<void>
  /** Today, without what this instance has not handed out; what others have not counts as used. */
  used(): Promise<bigint>
}

export type GiveBack = () => void

interface Share {
  readonly day: number
  readonly most: bigint
  left: bigint
}

/** Amounts that an instance takes at once: few at first, twice as many each time. */
const RUN_FIRST = 4n
const RUN_MOST = 64n
/** Never more of what is left than this part, so that the last of a day goes to whoever asks. */
const PART = 16n
/** For so long nobody asks the store again whether there is more after all. */
const NEWS_MS = 2_000
const PK = 'guard-day'
const DAY_MS = 86_400_000
const NOTHING = (): void => undefined
/** Clocks may be apart, so the day before is kept. */
const KEPT_DAYS = 2

export const nextMidnight = (nowMs: number): number => (Math.floor(nowMs / DAY_MS) + 1) * DAY_MS

export interface DayCapOptions {
  /** The subject of a sentence, such as `The credits`. */
  readonly what: string
  readonly onReached?: () => void
}

/** @param kind names the count in the store */
export function createDayCap(
  { environment, store }: Pick<AgentContext, 'environment' | 'store'>,
  kind: string,
  { what, onReached }: DayCapOptions,
): DayCap {
  const { clock } = environment
  let share: Share | undefined
  let run = RUN_FIRST
  let taking: Promise<void> | undefined
  /** The store had no more than `left` for anyone. */
  let reached: { readonly most: bigint; readonly left: bigint; readonly atMs: number } | undefined

  const today = (): number => Math.floor(clock.now() / DAY_MS)
  const keyOf = (day: number): string => `${kind}/${day}`

  function refusal(most: bigint): Problem {
    const parkUntil = nextMidnight(clock.now())
    const detail = `${what} of today are used up: the cap is ${most}. It begins anew at midnight UTC.`
    return new Problem('cap-reached', detail, { parkUntil, retryAfterMs: parkUntil - clock.now() })
  }

  const isReached = (amount: bigint, most: bigint): boolean =>
    reached !== undefined &&
    reached.most === most &&
    clock.now() - reached.atMs < NEWS_MS &&
    today() === Math.floor(reached.atMs / DAY_MS) &&
    amount > reached.left

  async function count(day: number) {
    const item = await store.get(PK, keyOf(day))
    return { taken: item ? BigInt(decodeRecord<{ taken: string }>(item).taken) : 0n, version: item?.version ?? 0 }
  }

  async function takeShare(amount: bigint, most: bigint): Promise<void> {
    const day = today()
    // A share of another day, or of another cap, is no longer handed out.
    if (share && (share.day !== day || share.most !== most)) await release()
    const more = await decideAndWrite(store, async () => {
      const { taken, version } = await count(day)
      const held = share?.left ?? 0n
      const left = most - taken
      if (left + held < amount) {
        reached = { most, left: left + held, atMs: clock.now() }
        onReached?.()
        throw refusal(most)
      }
      const more = larger(amount - held, smaller(amount * run, left / PART))
      return { changes: changesTo(day, version, taken + more), result: more }
    })
    share = { day, most, left: (share?.left ?? 0n) + more }
    run = smaller(run * 2n, RUN_MOST)
  }

  function changesTo(day: number, version: number, taken: bigint) {
    const today = { pk: PK, sk: keyOf(day), expect: version, body: encodeRecord({ taken: String(taken) }) }
    return version === 0 ? [today, { pk: PK, sk: keyOf(day - KEPT_DAYS), expect: 'any' as const }] : [today]
  }

  async function release(): Promise<void> {
    const held = share
    share = undefined
    run = RUN_FIRST
    if (!held || held.left === 0n || held.day !== today()) return
    await decideAndWrite(store, async () => {
      const { taken, version } = await count(held.day)
      return { changes: changesTo(held.day, version, taken - held.left), result: undefined }
    })
  }

  function handOut(amount: bigint, most: bigint): boolean {
    if (!share || share.day !== today() || share.most !== most || share.left < amount) return false
    share.left -= amount
    return true
  }

  return {
    async take(amount, most) {
      if (most === undefined || amount === 0n) return NOTHING
      while (!handOut(amount, most)) {
        if (taking) {
          await taking.catch(() => undefined)
          continue
        }
        if (isReached(amount, most)) throw refusal(most)
        taking = takeShare(amount, most).finally(() => (taking = undefined))
        await taking
      }
      const day = today()
      return () => {
        if (share?.day === day) share.left += amount
      }
    },
    requireOpen(most) {
      if (most !== undefined && !share?.left && isReached(1n, most)) throw refusal(most)
    },
    release,
    async used() {
      const { taken } = await count(today())
      return share?.day === today() ? taken - share.left : taken
    },
  }
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b)
