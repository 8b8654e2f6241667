/**
 * Sellers that sent bytes which are not the piece, as all workers of a download hear of them: each keeps sellers of its own,
 * and whoever lied to one need not be paid by the others to show it again.
 */
import { readAll } from '../../protocol/items.ts'
import type { AgentContext } from '../context.ts'
import { encodeRecord } from '../records.ts'

export interface Liars {
  /** @param seller hex. Durable once it resolves; the others hear of it within seconds. */
  tell(seller: string): Promise<void>
  /** As the store had them a moment ago, hex. */
  known(): Promise<readonly string[]>
}

const LIAR = 'liar/'
const NEWS_MS = 2_000

/** @param pk of the whole download */
export function createLiars(
  { store, environment: { clock } }: Pick<AgentContext, 'environment' | 'store'>,
  pk: string,
): Liars {
  let news: readonly string[] = []
  let readMs = -Infinity
  return {
    async tell(seller) {
      await store.write([{ pk, sk: LIAR + seller, expect: 0, body: encodeRecord({}) }])
    },
    async known() {
      if (clock.now() - readMs < NEWS_MS) return news
      readMs = clock.now()
      news = await readAll(store, pk, ({ sk }) => sk.slice(LIAR.length), { prefix: LIAR })
      return news
    },
  }
}

/** Where one worker does it all, there is nobody to tell. */
export const NO_OTHERS: Liars = { tell: async () => undefined, known: async () => [] }
