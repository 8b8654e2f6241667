/** A log as anyone may mirror and audit it: C2SP tlog-tiles over HTTP. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
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
  describe(app, '', {})
  app.get('/checkpoint', (c) => answerCheckpoint(c, log))
  app.get('/tile/*', (c) => answerTile(c, log, c.req.path.slice(1)))
}

/** The shards of a log, each under `shard/<number>/`. @param logOf throws Problem `not-found` where there is none */
export function addShardTiles(app: OpenAPIHono, logOf: (shard: number) => ServedLog): void {
  describe(app, '/shard/{shard}', { shard: z.string() })
  const shardIn = (c: Context): ServedLog => {
    const shard = c.req.param('shard') ?? ''
    if (!/^(?:0|[1-9]\d?)$/.test(shard))
      throw new Problem('bad-request', 'A shard is a number, without zeros before it.')
    return logOf(Number(shard))
  }
  app.get('/shard/:shard/checkpoint', (c) => answerCheckpoint(c, shardIn(c)))
  app.get('/shard/:shard/tile/*', (c) => answerTile(c, shardIn(c), c.req.path.split('/').slice(3).join('/')))
}

const answerCheckpoint = async (c: Context, log: ServedLog): Promise<Response> =>
  c.text(await log.checkpoint(), 200, { 'cache-control': REVALIDATE })

async function answerTile(c: Context, log: ServedLog, path: string): Promise<Response> {
  const tile = parseTilePath(path)
  const bytes = await log.tile(tile)
  const isFull = tile.width === limits.entriesPerTile
  return c.body(bytes, 200, {
    'content-type': 'application/octet-stream',
    'cache-control': isFull ? FOREVER : A_WHILE,
  })
}

/** Of a tile's index, OpenAPI has no way to say that its digits come in groups with slashes between them. */
function describe(app: OpenAPIHono, under: string, params: Readonly<Record<string, z.ZodString>>): void {
  const what = under === '' ? '' : ' of a shard'
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: `${under}/checkpoint`,
    summary: `The latest checkpoint${what}, a signed note, with what witnesses say of it (C2SP tlog-checkpoint, tlog-cosignature)`,
    ...(under !== '' && { request: { params: z.object(params) } }),
    responses: {
      200: { description: 'The note', content: { 'text/plain': { schema: z.string() } } },
      default: problemReply,
    },
  })
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: `${under}/tile/{level}/{index}`,
    summary: `A tile of hashes${what}, or with level "entries" a bundle of entries (C2SP tlog-tiles)`,
    description:
      'The index in groups of three digits, all but the last after an x: 1234067 is x001/x234/067. `.p/<width>` follows for a partial tile.',
    request: { params: z.object({ ...params, level: z.string(), index: z.string() }) },
    responses: { 200: { description: 'The tile', content: binary('application/octet-stream') }, default: problemReply },
  })
}
