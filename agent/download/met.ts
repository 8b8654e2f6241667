/**
 * What an agent was last told of others: kept for when the repository does not answer, and for as long as an announcement
 * may last, in a day's records each. Strangers say what there is to keep: a day takes so many, and no more.
 */
import { dayOf } from '../../protocol/delegation.ts'
import { removeAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Met {
  get<T>(name: string): Promise<T | undefined>
  /** What is too large for an item is not kept, nor what is too much for a day. */
  keep(name: string, value: unknown): Promise<void>
  /** Forgets what was kept before yesterday. */
  sweep(): Promise<void>
}

const DAYS = 'met'
const PAGE = 100
/** By one process. */
const RECORDS_A_DAY = 1024

const keyOf = (day: string): string => `${DAYS}/${day}`

export function createMet({ store, environment }: Pick<AgentContext, 'store' | 'environment'>): Met {
  const kept = { day: '', names: new Set<string>() }
  let [notedDay, sweptDay] = ['', '']

  const daysAgo = (days: number): string => String(dayOf(environment.clock.now()) - days)

  /** @returns false where the day has enough */
  function take(day: string, name: string): boolean {
    if (kept.day !== day) Object.assign(kept, { day, names: new Set() })
    if (kept.names.size >= RECORDS_A_DAY && !kept.names.has(name)) return false
    kept.names.add(name)
    return true
  }

  return {
    async get<T>(name: string) {
      const item = (await store.get(keyOf(daysAgo(0)), name)) ?? (await store.get(keyOf(daysAgo(1)), name))
      return item && decodeRecord<T>(item)
    },
    async keep(name, value) {
      const [day, body] = [daysAgo(0), encodeRecord(value)]
      if (body.length > limits.itemBytes || !take(day, name)) return
      const put = { pk: keyOf(day), sk: name, expect: 'any', body } as const
      const note = { pk: DAYS, sk: day, expect: 'any', body: encodeRecord({}) } as const
      await store.write(notedDay === day ? [put] : [note, put])
      notedDay = day
    },
    async sweep() {
      const today = daysAgo(0)
      if (sweptDay === today) return
      const days = await store.list(DAYS, { limit: PAGE })
      for (const { sk } of days.filter(({ sk: day }) => day !== today && day !== daysAgo(1))) {
        await removeAll(store, keyOf(sk))
        await store.write([{ pk: DAYS, sk, expect: 'any' }])
      }
      if (days.length < PAGE) sweptDay = today
    },
  }
}
