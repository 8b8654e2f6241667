import { pruneEntry } from '../protocol/book-log.ts'
import { toHex, type Bytes } from '../protocol/bytes.ts'
import type { RepositoryContext } from './context.ts'
import { EMPTY } from './keys.ts'

/** In the log once for each id. @returns whether it was news */
export const prune = ({ store, log, environment }: RepositoryContext, id: Bytes): Promise<boolean> =>
  log.write(async () => {
    const key = { pk: 'prune', sk: toHex(id) }
    const result = (await store.get(key.pk, key.sk)) === undefined
    if (!result) return { changes: [], entries: [], result }
    return {
      changes: [{ ...key, expect: 0, body: EMPTY }],
      entries: [pruneEntry(id, environment.clock.now())],
      result,
    }
  })
