/** How an owner makes a deployed agent theirs. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { jsonBody, ok } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import type { Claims } from '../claim.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'

export interface ClaimApi {
  readonly claims: Claims
  /** The agent's public key. */
  readonly key: Bytes
  readonly ledger: LedgerClient
  readonly repositoryUrl: string
  /** Where the agent is reached, as the request shows; without a trailing slash. */
  readonly urlOf: (request: Request) => string
}

const routes = {
  status: createRoute({
    method: 'get',
    path: '/v1/claim',
    summary: 'Whether the agent has an owner, and what a delegation to it must name',
    responses: ok(
      'The agent’s key and its ledger',
      z.object({ claimed: z.boolean(), key: wire.id, ledger: z.string(), ledgerId: wire.id, repository: z.string() }),
    ),
  }),
  claim: createRoute({
    method: 'post',
    path: '/v1/claim',
    summary: 'Make the agent yours; again, renew what you delegate to it',
    request: {
      body: jsonBody(
        z.strictObject({
          secret: z.string().max(64).optional().openapi({ description: 'Of the deployment; not needed to renew' }),
          operations: z.array(wire.envelope).min(1).max(limits.operationsPerIdentity),
          delegation: wire.envelope,
        }),
      ),
    },
    responses: ok('The owner', z.object({ id: wire.id })),
  }),
}

export function mountClaim(app: OpenAPIHono, { claims, key, ledger, repositoryUrl, urlOf }: ClaimApi): void {
  app.openapi(routes.status, async (c) => {
    const claimed = (await claims.current()) !== undefined
    const ledgerId = (await ledger.info()).id
    return c.json({ claimed, key: toHex(key), ledger: ledger.url, ledgerId, repository: repositoryUrl }, 200)
  })
  app.openapi(routes.claim, async (c) => {
    const { secret, operations, delegation } = c.req.valid('json')
    const owned = await claims.claim({
      secret,
      operations: operations.map((json) => envelopeFromJson(json)),
      delegation: envelopeFromJson(delegation),
      url: urlOf(c.req.raw),
    })
    return c.json({ id: toHex(owned.owner) }, 200)
  })
}
