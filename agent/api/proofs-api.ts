/** What the agent keeps of a ledger that broke its word. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { breachSchema } from '../../protocol/breach.ts'
import { ok } from '../../protocol/route.ts'
import type { AgentContext } from '../context.ts'

const proofsRoute = createRoute({
  method: 'get',
  path: '/v1/proofs',
  summary: 'Proofs that the ledger broke its word; none as a rule',
  responses: ok('The proofs, each to be checked by anybody', z.array(breachSchema)),
})

export function mountProofs(app: OpenAPIHono, { watch }: AgentContext): void {
  app.openapi(proofsRoute, async (c) => c.json([...((await watch?.breaches()) ?? [])], 200))
}
