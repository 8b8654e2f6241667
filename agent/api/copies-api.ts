/** Copies between the owner's own links, over HTTP. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../../protocol/problem.ts'
import { jsonBody, jsonReply, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import type { Copies, Copy } from '../copy/copies.ts'

const path = z.string().min(1).max(4096)
const place = z.object({ link: z.string(), path: z.string() })

const copySchema = z
  .object({
    id: z.string(),
    state: z.enum(['running', 'waiting', 'done', 'failed', 'cancelled']),
    from: place,
    to: place,
    folder: z.boolean(),
    files: z.int(),
    bytes: z.int(),
    done: z.int(),
    reason: z.string().optional(),
    detail: z.string().optional(),
    until: wire.time.optional(),
  })
  .openapi('Copy')

const params = z.object({ id: z.string().regex(/^[0-9a-f]{16}$/) })

const routes = {
  start: createRoute({
    method: 'post',
    path: '/v1/copies',
    request: {
      body: jsonBody(
        z.strictObject({
          from: z.strictObject({ link: z.string(), path }),
          to: z.strictObject({ link: z.string(), path: path.optional() }),
        }),
      ),
    },
    responses: { 202: jsonReply('Saved; it goes on by itself', copySchema), default: problemReply },
  }),
  get: createRoute({
    method: 'get',
    path: '/v1/copies/{id}',
    request: { params },
    responses: ok('The copy', copySchema),
  }),
  end: createRoute({
    method: 'delete',
    path: '/v1/copies/{id}',
    request: { params },
    responses: { 202: jsonReply('Saved; it ends by itself', copySchema), default: problemReply },
  }),
}

const copyJson = ({ from, to, ...copy }: Copy) => ({ ...copy, from: { ...from }, to: { ...to } })

export function mountCopies(app: OpenAPIHono, copies: Copies): void {
  app.openapi(routes.start, async (c) => {
    const { from, to } = c.req.valid('json')
    return c.json(copyJson(await copies.start(from, to)), 202)
  })
  app.openapi(routes.get, async (c) => {
    const copy = await copies.get(c.req.valid('param').id)
    if (!copy) throw new Problem('not-found', 'There is no such copy.')
    return c.json(copyJson(copy), 200)
  })
  app.openapi(routes.end, async (c) => c.json(copyJson(await copies.end(c.req.valid('param').id)), 202))
}
