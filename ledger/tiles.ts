/** The ledger's log as anyone may mirror and audit it. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { addTiles as addLog } from '../protocol/tile-api.ts'
import type { Books } from './books.ts'
import { readLogTile } from './log.ts'
import { readCheckpoint } from './witnessing.ts'

export function addTiles(app: OpenAPIHono, { context, policy }: Books): void {
  addLog(app, {
    async checkpoint() {
      await policy()
      return readCheckpoint(context)
    },
    tile: (tile) => readLogTile(context.store, tile),
  })
}
