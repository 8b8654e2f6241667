/** What the documents of `--json` look like. */
import { z } from 'zod'

export const money = z.string().regex(/^(0|[1-9][0-9]*)$/)
export const id = z.string().regex(/^[0-9a-f]{64}$/)
const count = z.int().min(0)

export const owner = z.strictObject({ id, key: id })

export const link = z.strictObject({
  name: z.string(),
  kind: z.string(),
  place: z.string().optional(),
  quota: z.strictObject({ total: count.optional(), used: count.optional() }).optional(),
  reason: z.string().optional(),
  detail: z.string().optional(),
})

export const share = z.looseObject({
  infoHash: id,
  infoHashV1: z.string().regex(/^[0-9a-f]{40}$/),
  magnet: z.string().startsWith('magnet:?xt=urn:btih:'),
  name: z.string(),
  bytes: count,
  pieceLength: count,
  pieces: count,
})

export const found = z.array(
  z.strictObject({ infoHash: id, name: z.string(), bytes: count, pieces: count, sellers: count, price: money }),
)

export const STATES = ['queued', 'running', 'waiting', 'paused', 'done', 'failed', 'cancelled'] as const

export const download = z
  .looseObject({
    id: z.string(),
    state: z.enum(STATES),
    bytes: count,
    done: count,
    paid: money,
    file: z.string().optional(),
    reason: z.string().optional(),
    until: count.optional(),
  })
  .refine(({ state, reason }) => state !== 'waiting' || reason !== undefined, 'what waits has a reason')
  .refine(({ state, file }) => (state === 'done') === (file !== undefined), 'what is done has a file')

export const balance = z.strictObject({
  available: money,
  frozen: money,
  earned: money,
  bonds: money,
  outstanding: money,
})

export const statement = balance.extend({
  entries: z.array(
    z.looseObject({
      index: count,
      kind: z.string(),
      time: count,
      available: z.string().regex(/^(0|-?[1-9][0-9]*)$/),
      frozen: z.string(),
      earned: z.string(),
      bonds: z.string(),
    }),
  ),
})

export const verdict = z.looseObject({
  id,
  trusted: z.boolean(),
  depth: z.int(),
  credit: count,
  chain: z.array(id),
})

export const audit = z.strictObject({
  ok: z.boolean(),
  origin: z.string(),
  size: count,
  rootHash: z.base64(),
  problems: z.array(z.string()),
  entry: count.optional(),
  resumedAt: count,
  witnesses: z.array(z.string()),
})

export const graph = z.strictObject({
  agents: count,
  vouches: count,
  trusted: count,
  byDepth: z.record(z.string(), count),
  lost: z.array(z.string()),
  evaluateMs: z.number(),
  pruneMs: z.number(),
})

export const usage = z.looseObject({ id, since: count, stored: count, served: count, fetched: count })

export const problem = z.looseObject({
  type: z.string().startsWith('urn:raincheck:problem:'),
  code: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
})
