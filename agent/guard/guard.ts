/**
 * What keeps an owner from bills and losses that they did not mean: so many credits spent a day, so many bytes sent a
 * day, and a switch that ends all sales and purchases. All of it is in the store, for all instances and restarts.
 */
import { decideAndWrite } from '../../protocol/items.ts'
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { createDayCap, nextMidnight, type GiveBack } from './day-cap.ts'

/** Of a day, from midnight to midnight UTC; what is missing has no cap. */
export interface DayCaps {
  /** Credits in ticks. */
  readonly spend?: bigint
  /** Bytes of pieces sent to others. */
  readonly serve?: bigint
}

/** `null`: no cap; what is missing stays as it is. */
export interface GuardChange {
  readonly stopped?: boolean | undefined
  readonly spend?: bigint | null | undefined
  readonly serve?: bigint | null | undefined
}

export interface GuardState {
  readonly stopped: boolean
  /** Since when, in milliseconds. */
  readonly stoppedMs?: number
  readonly caps: DayCaps
  /** Of today, counted where there is a cap. */
  readonly used: Required<DayCaps>
  /** When the day ends, in milliseconds. */
  readonly untilMs: number
}

export interface Guard {
  /** @throws Problem `stopped` */
  requireRunning(): Promise<void>
  isStopped(): Promise<boolean>
  /** Before a tick may leave. @throws Problem `cap-reached` */
  spend(credits: bigint): Promise<GiveBack>
  /** Before bytes leave. @param isFree nobody pays for them: they take half of the day at the most. @throws Problem `cap-reached` */
  serve(bytes: number, isFree?: boolean): Promise<GiveBack>
  /** Before anybody goes to any length for a piece. @throws Problem `cap-reached`, as far as this instance knows */
  requireRoom(isFree: boolean): Promise<void>
  state(): Promise<GuardState>
  /** Durable once it resolves; other instances hear of it within seconds. */
  change(change: GuardChange): Promise<GuardState>
  /** What this instance took and does not use goes back. */
  release(): Promise<void>
}

interface Settings {
  readonly stoppedMs?: number
  /** As the owner set them; without, the usual ones count. `null`: none. */
  readonly spend?: string | null
  readonly serve?: string | null
}

const PK = 'guard'
const SK = 'settings'
/** How long an instance may not know what another was told: by then all have stopped. */
export const STOP_HEARD_MS = 2_000
const FREE_PART = 2n

export interface GuardOptions {
  /** Where the owner has set none. */
  readonly caps?: DayCaps | undefined
  /** Told, every few seconds at the most while somebody asks for more. */
  readonly onReached?: ((cap: keyof DayCaps) => void) | undefined
}

export function createGuard(context: AgentContext, { caps: usual = {}, onReached }: GuardOptions = {}): Guard {
  const { store, environment } = context
  const { clock } = environment
  const spending = createDayCap(context, 'spend', { what: 'The credits', onReached: () => onReached?.('spend') })
  const serving = createDayCap(context, 'serve', { what: 'The bytes', onReached: () => onReached?.('serve') })
  const giving = createDayCap(context, 'give', { what: 'The bytes for free content' })
  let news: { readonly atMs: number; readonly settings: Promise<Settings> } | undefined

  async function read() {
    const item = await store.get(PK, SK)
    return { settings: item ? decodeRecord<Settings>(item) : {}, version: item?.version ?? 0 }
  }

  function settings(): Promise<Settings> {
    if (!news || clock.now() - news.atMs >= STOP_HEARD_MS) {
      const asked = { atMs: clock.now(), settings: read().then((found) => found.settings) }
      news = asked
      // What could not be read is asked again by the next one.
      asked.settings.catch(() => news === asked && (news = undefined))
    }
    return news.settings
  }

  const capIn = (set: Settings, kind: keyof DayCaps): bigint | undefined => {
    const own = set[kind]
    if (own === undefined) return usual[kind]
    return own === null ? undefined : BigInt(own)
  }

  async function state(): Promise<GuardState> {
    const set = await settings()
    const [spend, serve] = [capIn(set, 'spend'), capIn(set, 'serve')]
    return {
      stopped: set.stoppedMs !== undefined,
      ...(set.stoppedMs !== undefined && { stoppedMs: set.stoppedMs }),
      caps: { ...(spend !== undefined && { spend }), ...(serve !== undefined && { serve }) },
      used: { spend: await spending.used(), serve: await serving.used() },
      untilMs: nextMidnight(clock.now()),
    }
  }

  async function change(asked: GuardChange): Promise<GuardState> {
    await decideAndWrite(store, async () => {
      const { settings: before, version } = await read()
      const body = encodeRecord(changed(before, asked, clock.now()))
      return { changes: [{ pk: PK, sk: SK, expect: version, body }], result: undefined }
    })
    news = undefined
    return state()
  }

  async function serve(bytes: number, isFree = false): Promise<GiveBack> {
    const most = capIn(await settings(), 'serve')
    const amount = BigInt(bytes)
    const given = isFree ? await giving.take(amount, freeCap(most)) : undefined
    try {
      const served = await serving.take(amount, most)
      return () => {
        given?.()
        served()
      }
    } catch (error) {
      given?.()
      throw error
    }
  }

  const isStopped = async (): Promise<boolean> => (await settings()).stoppedMs !== undefined

  return {
    isStopped,
    async requireRunning() {
      if (await isStopped()) throw new Problem('stopped', 'The owner of this agent has stopped it.')
    },
    spend: async (credits) => spending.take(credits, capIn(await settings(), 'spend')),
    serve,
    async requireRoom(isFree) {
      const most = capIn(await settings(), 'serve')
      serving.requireOpen(most)
      if (isFree) giving.requireOpen(freeCap(most))
    },
    state,
    change,
    async release() {
      for (const cap of [spending, serving, giving]) await cap.release()
    },
  }
}

function changed(before: Settings, { stopped, spend, serve }: GuardChange, nowMs: number): Settings {
  const { stoppedMs, ...caps } = before
  const since = stopped === undefined ? stoppedMs : stopped ? (stoppedMs ?? nowMs) : undefined
  return {
    ...caps,
    ...(since !== undefined && { stoppedMs: since }),
    ...(spend !== undefined && { spend: spend === null ? null : String(spend) }),
    ...(serve !== undefined && { serve: serve === null ? null : String(serve) }),
  }
}

const freeCap = (cap: bigint | undefined): bigint | undefined => (cap === undefined ? undefined : cap / FREE_PART)
