/** What the owner asks of their agent about others' editions: whom to follow, what is new. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { limits } from '../../protocol/limits.ts'
import { byId, count, jsonBody, ok } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import type { Alert, Follow, Follows } from '../follow/follows.ts'

const followSchema = z
  .object({
    id: wire.id,
    names: z.array(z.string()).openapi({ description: 'Series; all of them where it is empty' }),
    missed: count.openapi({ description: 'Editions that were left out of what was shown' }),
  })
  .openapi('Follow')

const alertSchema = z
  .object({
    by: wire.id,
    name: z.string(),
    seq: count,
    infoHash: wire.id,
    before: wire.id.optional(),
    issued: wire.time,
    isNew: z.boolean(),
  })
  .openapi('Alert')

const routes = {
  follows: createRoute({
    method: 'get',
    path: '/v1/follows',
    responses: ok('Whom the agent follows', z.array(followSchema)),
  }),
  follow: createRoute({
    method: 'put',
    path: '/v1/follows/{id}',
    request: {
      params: byId,
      body: jsonBody(z.strictObject({ names: z.array(z.string().min(1).max(limits.nameBytes)).max(16).optional() })),
    },
    responses: ok('Followed from now on', followSchema),
  }),
  unfollow: createRoute({
    method: 'delete',
    path: '/v1/follows/{id}',
    request: { params: byId },
    responses: ok('Followed no more', z.object({ id: wire.id })),
  }),
  alerts: createRoute({
    method: 'get',
    path: '/v1/alerts',
    responses: ok('The newest edition of each series that is followed, the latest first', z.array(alertSchema)),
  }),
  look: createRoute({
    method: 'put',
    path: '/v1/alerts',
    request: { body: jsonBody(z.strictObject({ seen: z.literal(true) })) },
    responses: ok('None is new any more', z.object({ seen: z.boolean() })),
  }),
}

export function mountFollows(app: OpenAPIHono, follows: Follows): void {
  app.openapi(routes.follows, async (c) => c.json((await follows.list()).map(followJson), 200))
  app.openapi(routes.follow, async (c) => {
    const { names = [] } = c.req.valid('json')
    return c.json(followJson(await follows.follow(c.req.valid('param').id, names)), 200)
  })
  app.openapi(routes.unfollow, async (c) => {
    const { id } = c.req.valid('param')
    await follows.unfollow(id)
    return c.json({ id }, 200)
  })
  app.openapi(routes.alerts, async (c) => c.json((await follows.alerts()).map(alertJson), 200))
  app.openapi(routes.look, async (c) => {
    await follows.look()
    return c.json({ seen: true }, 200)
  })
}

const followJson = ({ names, ...follow }: Follow) => ({ ...follow, names: [...names] })
const alertJson = (alert: Alert) => ({ ...alert })
