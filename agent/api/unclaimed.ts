/** What an agent answers that belongs to nobody yet: how to make it one's own, and nothing else. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Problem } from '../../protocol/problem.ts'
import { createService } from '../../protocol/service.ts'
import { mountDashboard, type Dashboard } from '../dashboard/dashboard.ts'
import { mountClaim, type ClaimApi } from './claim-api.ts'

export interface UnclaimedParts extends ClaimApi {
  readonly dashboard: Dashboard
  readonly onFault: (error: unknown) => void
}

export function createUnclaimedApp({ dashboard, onFault, ...api }: UnclaimedParts): { readonly app: OpenAPIHono } {
  const app = createService({
    title: 'Raincheck agent',
    description: 'An agent that has no owner yet.',
    onFault,
  })
  mountClaim(app, api)
  mountDashboard(app, dashboard)
  for (const path of ['/v1/*', '/.well-known/raincheck']) {
    app.all(path, () => {
      throw new Problem('unclaimed', 'This agent has no owner yet: claim it with the secret of its deployment.')
    })
  }
  return { app }
}
