/** The owner's switch and caps, over HTTP. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { jsonBody, ok } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import type { Downloads } from '../download/download.ts'
import type { Guard, GuardState } from '../guard/guard.ts'

const guardSchema = z
  .object({
    stopped: z.boolean(),
    since: wire.time.optional(),
    spend: z.object({ most: wire.money.optional(), used: wire.money }),
    serve: z.object({ most: z.int().optional(), used: z.int() }),
    until: wire.time.openapi({ description: 'When the day ends' }),
  })
  .openapi('Guard')

const routes = {
  guard: createRoute({
    method: 'get',
    path: '/v1/guard',
    responses: ok('The switch, and what is used of the day’s caps', guardSchema),
  }),
  change: createRoute({
    method: 'put',
    path: '/v1/guard',
    request: {
      body: jsonBody(
        z.strictObject({
          stopped: z.boolean().optional(),
          spend: wire.money.nullable().optional().openapi({ description: 'Credits a day; null: no cap' }),
          serve: z.int().min(0).nullable().optional().openapi({ description: 'Bytes a day; null: no cap' }),
        }),
      ),
    },
    responses: ok('As it is now', guardSchema),
  }),
}

export function mountGuard(app: OpenAPIHono, guard: Guard, downloads: Pick<Downloads, 'takeUp'>): void {
  app.openapi(routes.guard, async (c) => c.json(guardJson(await guard.state()), 200))
  app.openapi(routes.change, async (c) => {
    const { stopped, spend, serve } = c.req.valid('json')
    const state = await guard.change({
      stopped,
      spend: typeof spend === 'string' ? BigInt(spend) : spend,
      serve: typeof serve === 'number' ? BigInt(serve) : serve,
    })
    if (!state.stopped) await downloads.takeUp()
    return c.json(guardJson(state), 200)
  })
}

const guardJson = ({ stopped, stoppedMs, caps: { spend, serve }, used, untilMs }: GuardState) => ({
  stopped,
  ...(stoppedMs !== undefined && { since: stoppedMs }),
  spend: { ...(spend !== undefined && { most: spend.toString() }), used: used.spend.toString() },
  serve: { ...(serve !== undefined && { most: Number(serve) }), used: Number(used.serve) },
  until: untilMs,
})
