/**
 * Which of several processes appends to a log. Several are safe (sequencer.ts), but each undoes what the others have
 * done; so all but one stand by. This is for speed alone, and may rest on clocks.
 *
 * The one that leads has written an item last that stands for it. The others look now and then. Where neither that item
 * nor the head has moved in the meantime, and there is something to do, the leader is taken for dead: whoever writes the
 * item first leads from now on. One that is only slow may still bring to an end what it is at, and finds then that it was
 * replaced. A process that has just started stands by first.
 */
import type { LedgerContext } from './context.ts'
import { readHead, type Head } from './log.ts'

export interface Lead {
  /**
   * Takes the lead where nobody has it who lives.
   * @param own version of the head that this process wrote last
   * @param hasWork asked whether there is anything to append
   * @returns the head for it to go on from, `idle` when there is nothing to do, undefined when another leads
   */
  readonly take: (
    own: number | undefined,
    hasWork: (head: Head) => Promise<boolean>,
  ) => Promise<Head | 'idle' | undefined>
  /** Whether no other has led for a while. */
  readonly isSteady: () => boolean
}

/** Another that has moved nothing for so long is not at it any more: well within the merge delay. */
const STANDBY_MS = 500
/** A process that was not replaced for so long is unlikely to be soon. */
const STEADY_MS = 5000

const LEADER = { pk: 'log', sk: 'leader' }

export function createLead({ environment: { clock }, store }: LedgerContext): Lead {
  /** Versions: of the item while it stands for this process, and of what it saw last of others. */
  let mine: number | undefined
  let seen: { readonly head: number; readonly leader: number } | undefined
  /** Since when it stands by, or does not. */
  let standbyMs: number | undefined
  let aloneMs: number | undefined

  const since = (ms: number): number => Math.abs(clock.now() - ms)

  function standBy(): undefined {
    standbyMs = clock.now()
    aloneMs = undefined
  }

  function isMoved(head: number, leader: number, own: number | undefined): boolean {
    const before = seen
    seen = { head, leader }
    return before !== undefined && (leader !== before.leader || (head !== before.head && head !== own))
  }

  return {
    async take(own, hasWork) {
      if (standbyMs !== undefined && since(standbyMs) < STANDBY_MS) return undefined
      const [head, item] = await Promise.all([readHead(store), store.get(LEADER.pk, LEADER.sk)])
      const leader = item?.version ?? 0
      if (leader !== mine) {
        const isFirst = seen === undefined
        if (isMoved(head.version, leader, own)) return standBy()
        const isIdle = !(await hasWork(head))
        if (!isIdle && (isFirst || !(await store.write([{ ...LEADER, expect: leader, body: new Uint8Array(0) }]))))
          return standBy()
        standbyMs = undefined
        aloneMs ??= clock.now()
        if (isIdle) return 'idle'
        mine = leader + 1
      }
      return head
    },
    isSteady: () => aloneMs !== undefined && since(aloneMs) >= STEADY_MS,
  }
}
