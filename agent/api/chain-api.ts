/** What a buyer brings along: the vouching chains to it, and its view of the repository's log. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { jsonBody, ok } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import { chainsShape } from '../clients/repository-client.ts'
import type { Trust } from '../trust/trust.ts'

const chainsRoute = createRoute({
  method: 'post',
  path: '/v1/chains',
  summary: 'Show the vouches that lead from this agent’s owner to you',
  request: {
    body: jsonBody(z.strictObject({ subject: wire.id, evidence: chainsShape, checkpoint: z.string().optional() })),
  },
  responses: ok(
    'Pieces that the subject may owe, and the newest checkpoint of the repository’s log that was seen here',
    z.object({ credit: z.int(), checkpoint: z.string().optional() }),
  ),
})

export function mountChains(app: OpenAPIHono, trust: Trust): void {
  app.openapi(chainsRoute, async (c) => {
    const { subject, evidence, checkpoint } = c.req.valid('json')
    const credit = await trust.carry(subject, evidence, checkpoint)
    const note = await trust.note()
    return c.json({ credit, ...(note !== undefined && { checkpoint: note }) }, 200)
  })
}
