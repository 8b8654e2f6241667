/** The ledger's log as anyone may mirror and audit it: the log itself, or the root log and each shard under its own path. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../protocol/problem.ts'
import { addShardTiles, addTiles as addLog } from '../protocol/tile-api.ts'
import type { Books } from './books.ts'
import { readLogTile } from './log.ts'
import { readShown, shardsOf } from './shards.ts'
import { readCheckpoint } from './witnessing.ts'

export function addTiles(app: OpenAPIHono, { context, policy }: Books): void {
  const { store } = context
  addLog(app, {
    async checkpoint() {
      await policy()
      return readCheckpoint(context)
    },
    tile: (tile) => readLogTile(store, tile),
  })
  const shards = context.policy.shards === undefined ? [] : shardsOf(context)
  addShardTiles(app, (shard) => {
    const { store: place } = shards[shard] ?? missing()
    return {
      /** As the checkpoint that is shown has it joined last: whatever is shown of a shard is in the root log that is. */
      async checkpoint() {
        await policy()
        const joined = await readShown(store, await readCheckpoint(context))
        return joined[shard] ?? missing()
      },
      tile: (tile) => readLogTile(place, tile),
    }
  })
}

function missing(): never {
  throw new Problem('not-found', 'The log has no such shard.')
}
