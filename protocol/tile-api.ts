/** A log as anyone may mirror and audit it: C2SP tlog-tiles over HTTP. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from '@hono/zod-openapi'
import type { Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { binary } from './route.ts'
import { problemReply } from './service.ts'
import { parseTilePath, type Tile } from './tile.ts'

export interface ServedLog {
  /** A signed note. */
  checkpoint(): Promise<string>
  /** @throws Problem `not-found` beyond the log's end */
  tile(tile: Tile): Promise<Bytes>
}

export const FOREVER = 'public, max-age=31536000, immutable'
/** A checkpoint is old as soon as the next is signed. */
export const REVALIDATE = 'no-cache'
/** The log outgrows a partial tile, which stays true all the same. */
const A_WHILE = 'public, max-age=3600'

export function addTiles(app: OpenAPIHono, log: ServedLog): void {
  describe(app)
  app.get('/checkpoint', async (c) => c.text(await log.checkpoint(), 200, { 'cache-control': REVALIDATE }))
  app.get('/tile/*', async (c) => {
    const tile = parseTilePath(c.req.path.slice(1))
    const bytes = await log.tile(tile)
    const isFull = tile.width === limits.entriesPerTile
    return c.body(bytes, 200, {
      'content-type': 'application/octet-stream',
      'cache-control': isFull ? FOREVER : A_WHILE,
    })
  })
}

/** Of a tile's index, OpenAPI has no way to say that its digits come in groups with slashes between them. */
function describe(app: OpenAPIHono): void {
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/checkpoint',
    summary:
      'The latest checkpoint, a signed note, with what witnesses say of it (C2SP tlog-checkpoint, tlog-cosignature)',
    responses: {
      200: { description: 'The note', content: { 'text/plain': { schema: z.string() } } },
      default: problemReply,
    },
  })
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/tile/{level}/{index}',
    summary: 'A tile of hashes, or with level "entries" a bundle of entries (C2SP tlog-tiles)',
    description:
      'The index in groups of three digits, all but the last after an x: 1234067 is x001/x234/067. `.p/<width>` follows for a partial tile.',
    request: { params: z.object({ level: z.string(), index: z.string() }) },
    responses: { 200: { description: 'The tile', content: binary('application/octet-stream') }, default: problemReply },
  })
}
