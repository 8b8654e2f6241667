/** A ledger: its HTTP side and its work in the background, over a store. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { createAccept } from './accept.ts'
import { createApp } from './app.ts'
import { openBooks } from './books.ts'
import { createContext, type LedgerOptions } from './context.ts'
import { createLag, type IsWaiting } from './lag.ts'
import { createLoop } from './loop.ts'
import { createNotary } from './notary.ts'
import { createSequencers } from './shards.ts'
import { createTurn } from './turn.ts'
import { createPublisher } from './publisher.ts'
import { createWitnessing } from './witnessing.ts'

export interface Ledger {
  /** Answers also when nothing runs in the background: what it accepts then waits to be sequenced. */
  readonly app: OpenAPIHono
  /** Opens the log, then sequences and attests it by itself. @throws Problem `conflict` when the log has another key, `store-unavailable` */
  start(): Promise<void>
  /** Lets the work under way end. What waits is sequenced after the next start. */
  stop(): Promise<void>
  /** Appends to the log all that waits, has its checkpoint witnessed, and puts it where copies are read. @returns how many entries */
  sequence(): Promise<number>
  /** Puts an attestation of the whole log in it, unless nothing came since the last; of as much as is replayed by `untilMs`. */
  attest(untilMs?: number): Promise<void>
}

/** How long an entry may wait when the wake-up for it was lost, with another process for example: well within the merge delay. */
const SEQUENCER_PAUSE_MS = 1000
/** What comes in the meantime is appended at once: less than others stand by for (lead.ts). */
const SEQUENCER_REST_MS = 200
const NOTARY_PAUSE_MS = 1000
/** How long a checkpoint may wait that another process signed, to be witnessed and put where copies are read. */
const SHOWN_PAUSE_MS = 5000

export function createLedger(options: LedgerOptions): Ledger {
  const context = createContext(options)
  const { clock } = context.environment
  const inTurn = createTurn()
  const sequencer = createSequencers(context)
  const appendWaiting = () => inTurn(sequencer.sequence)
  const lag = createLag(clock)
  let isAtWork = false
  const onAccepted = (isWaiting: IsWaiting): void => {
    sequencing.wake()
    // What is noted is let go of as it is checked.
    if (isAtWork) lag.note(isWaiting)
  }
  /** Where nothing runs in the background, whoever asks about the log waits for it. */
  const holdBack = async (): Promise<void> => {
    if (isAtWork) await lag.check()
  }
  const accept = createAccept(context, onAccepted, holdBack)
  const books = openBooks(context, accept, appendWaiting)
  const notary = createNotary(context, accept)
  const { onFault } = context

  /** With several processes, one that has been sequencing for some seconds attests; one that keeps restarting never does. */
  const follow = async () => {
    if (sequencer.isSteady()) await notary.follow()
  }
  const follower = createLoop({ clock, pauseMs: NOTARY_PAUSE_MS, work: follow, onFault })
  const sequencing = createLoop({
    clock,
    pauseMs: SEQUENCER_PAUSE_MS,
    restMs: SEQUENCER_REST_MS,
    work: async () => {
      for (let isMore = true; isMore;) {
        const done = await inTurn(sequencer.assist)
        if (done && done.appended > 0) shower.wake()
        isMore = isAtWork && done?.isAll === false
      }
    },
    onFault,
  })
  const witnessing = createWitnessing(context)
  const publisher = context.objects && createPublisher(context, context.objects)
  /** Where nothing runs in the background, whoever asks about the log finds in it what was promised. */
  const bringUpToDate = async () => {
    await books.policy()
    await appendWaiting()
    await witnessing.round()
  }
  /** What is shown to others: witnesses first, then whoever reads copies. */
  const show = async () => {
    await witnessing.round()
    await publisher?.round()
  }
  const shower = createLoop({ clock, pauseMs: SHOWN_PAUSE_MS, work: show, onFault })

  return {
    app: createApp(books, options.sequencesWhenAsked ? () => bringUpToDate().catch(onFault) : undefined),
    async start() {
      await books.policy()
      isAtWork = true
      sequencing.start()
      follower.start()
      if (context.witnesses.length > 0 || publisher) shower.start()
    },
    async stop() {
      isAtWork = false
      await Promise.all([follower.stop(), sequencing.stop(), shower.stop()])
    },
    sequence: async () => {
      await books.policy()
      const appended = await appendWaiting()
      await show()
      return appended
    },
    async attest(untilMs) {
      await books.policy()
      await appendWaiting()
      await notary.attest(untilMs)
      await appendWaiting()
    },
  }
}
