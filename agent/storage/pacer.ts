/**
 * One account's allowance, shared by all instances through the store. A driver runs each request through it: it waits for
 * its turn, comes again after a fault that passes, and is refused at once while the account is parked.
 *
 * An instance takes a share of a window's allowance in one write and spends it by itself, so that pacing costs the store a
 * few writes a window and not one a request. A share that dies with its instance is lost until the window ends.
 */
import type { Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { faultOf, parked } from './faults.ts'

export interface Pacer {
  /**
   * @param units what the request takes of the allowance, by default 1
   * @throws what the action throws: a fault that does not pass at once, one that passes after the last attempt
   */
  run<T>(action: () => Promise<T>, units?: number): Promise<T>
  /** Whoever waits gives up with the fault that it waits for. */
  close(): void
}

export interface PacerOptions {
  /** Whose allowance: the same for all links that share it, such as `drive/<client id>`. Holds no secret. */
  readonly account: string
  /** Units a minute; unlimited unless given. */
  readonly unitsPerMinute?: number
  /** The pause before the second try; it doubles. Default 1 s. */
  readonly pauseMs?: number
}

export interface PacerContext {
  readonly environment: Pick<Environment, 'clock' | 'random'>
  readonly store: Store
}

/** What instances share of an account. */
interface Account {
  readonly windowStartMs: number
  /** Units handed out in this window. */
  readonly taken: number
  readonly park?: Park
}

interface Park {
  readonly untilMs: number
  readonly detail: string
}

const WINDOW_MS = 10_000
const SHARES = 8
/** A longer wait is told to whoever asks, rather than sat out. */
const PATIENCE_MS = 60_000
/** How long an instance may not know that another one has parked the account. */
const NEWS_MS = 5_000
/** Tries of a request, the first one too. */
const ATTEMPTS = 5
const WRITE_ATTEMPTS = 16
const SK = 'account'

export function createPacer({ environment, store }: PacerContext, options: PacerOptions): Pacer {
  const { clock, random } = environment
  const { account, unitsPerMinute, pauseMs = 1000 } = options
  const pk = `pace/${account}`
  const closing = new AbortController()
  const perWindow = unitsPerMinute === undefined ? undefined : Math.max(1, (unitsPerMinute * WINDOW_MS) / 60_000)
  let share = { endMs: 0, left: 0 }
  let taking: Promise<void> | undefined
  let news: { readAtMs: number; park: Park | undefined } | undefined
  /** The provider's word to all requests of this instance. */
  let quietUntilMs = 0

  async function load(): Promise<{ account: Account; version: number }> {
    const item = await store.get(pk, SK)
    const found = item ? decodeRecord<Account>(item) : { windowStartMs: 0, taken: 0 }
    const { park } = found
    news = { readAtMs: clock.now(), park: park && park.untilMs > clock.now() ? park : undefined }
    return { account: found, version: item?.version ?? 0 }
  }

  /** @param change undefined where there is nothing to write. @returns what was written */
  async function update(change: (account: Account) => Account | undefined): Promise<Account | undefined> {
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      const { account: found, version } = await load()
      const next = change(found)
      if (!next || (await store.write([{ pk, sk: SK, expect: version, body: encodeRecord(next) }]))) return next
    }
    throw new Problem('storage-unavailable', 'Too many agents use this account at once.', { retryAfterMs: WINDOW_MS })
  }

  async function refuseWhileParked(): Promise<void> {
    if (!news || clock.now() - news.readAtMs >= NEWS_MS) await load()
    if (news?.park && news.park.untilMs > clock.now()) throw parked(news.park.detail, news.park.untilMs)
  }

  async function park(detail: string, untilMs: number): Promise<void> {
    await update((found) =>
      found.park && found.park.untilMs >= untilMs ? undefined : { ...found, park: { untilMs, detail } },
    )
    news = { readAtMs: clock.now(), park: { untilMs, detail } }
  }

  /** One taker at a time: the others of this instance spend what it brings. */
  async function turn(units: number, most: number): Promise<void> {
    for (;;) {
      if (clock.now() < share.endMs && share.left >= units) return void (share.left -= units)
      taking ??= takeShare(units, most).finally(() => (taking = undefined))
      await taking
    }
  }

  async function takeShare(units: number, most: number): Promise<void> {
    const nowMs = clock.now()
    const windowStartMs = nowMs - (nowMs % WINDOW_MS)
    const wanted = Math.min(most, Math.max(Math.min(units, most), most / SHARES))
    const taken = await update((found) => {
      const before = found.windowStartMs === windowStartMs ? found.taken : 0
      return before + wanted > most ? undefined : { ...found, windowStartMs, taken: before + wanted }
    })
    // What asks for more than a window holds goes alone.
    if (taken) share = { endMs: windowStartMs + WINDOW_MS, left: Math.max(wanted, units) }
    else await clock.sleep(windowStartMs + WINDOW_MS - nowMs, closing.signal)
  }

  async function quiet(): Promise<void> {
    for (let ms = quietUntilMs - clock.now(); ms > 0; ms = quietUntilMs - clock.now()) {
      await clock.sleep(ms, closing.signal)
    }
  }

  /** Half of it is random, so that requests do not come back in step. */
  function backoffMs(attempt: number): number {
    const [jitter = 0] = random.bytes(1)
    return pauseMs * 2 ** (attempt - 1) * (0.5 + jitter / 512)
  }

  /** @returns how long to wait before the next try @throws the error where there is none */
  async function consequence(error: unknown, attempt: number): Promise<number> {
    const fault = faultOf(error)
    if (fault?.kind === 'park') await park((error as Problem).message, fault.untilMs)
    if (fault?.kind !== 'retry') throw error
    if (fault.afterMs > PATIENCE_MS) {
      await park((error as Problem).message, clock.now() + fault.afterMs)
      throw parked((error as Problem).message, clock.now() + fault.afterMs)
    }
    if (fault.afterMs > 0) quietUntilMs = Math.max(quietUntilMs, clock.now() + fault.afterMs)
    if (attempt >= ATTEMPTS || closing.signal.aborted) throw error
    return Math.max(fault.afterMs, backoffMs(attempt))
  }

  return {
    async run(action, units = 1) {
      for (let attempt = 1; ; attempt++) {
        await refuseWhileParked()
        await quiet()
        if (perWindow !== undefined) await turn(units, perWindow)
        try {
          return await action()
        } catch (error) {
          const ms = await consequence(error, attempt)
          await clock.sleep(ms, closing.signal).catch(() => {
            throw error
          })
        }
      }
    },
    close: () => closing.abort(new Problem('storage-unavailable', 'The storage was closed.')),
  }
}
