/** The trust repository on HTTP. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { createService } from '../protocol/service.ts'
import { addTiles } from '../protocol/tile-api.ts'
import { addContents } from './content-api.ts'
import { addEditions } from './edition-api.ts'
import type { Editions } from './editions.ts'
import type { Hashes } from './hashes.ts'
import type { RepositoryLog } from './log.ts'
import { addOffers, type OfferParts } from './offer-api.ts'
import { addTrust, type TrustParts } from './trust-api.ts'

export interface RepositoryParts extends OfferParts, TrustParts {
  readonly log: RepositoryLog
  /** Takes nothing from anybody but the repository that it follows. */
  readonly isMirror: boolean
  readonly hashes: Hashes
  readonly editions: Editions
}

/** A signed object in JSON: base64url, and its member names. */
const ENVELOPE_BYTES = 2048
const BASE64 = 4 / 3

export function createApp(parts: RepositoryParts, onFault: (error: unknown) => void): OpenAPIHono {
  const app = createService({
    title: 'Raincheck repository',
    description:
      'Who vouches for whom, who offers which content, and what contents are. What it says is signed by others, and verified by its readers.',
    largerBodies: [
      { path: /^\/v1\/identities$/, bytes: limits.operationsPerIdentity * ENVELOPE_BYTES },
      { path: /^\/v1\/books\//, bytes: Math.ceil(limits.bookBytes * BASE64) + limits.jsonBytes },
      { path: /^\/v1\/contents\/[^/]+$/, bytes: limits.torrentBytes },
      { path: /^\/v1\/contents\/[^/]+\/leaves$/, bytes: limits.leavesBytes },
    ],
    onFault,
  })
  if (parts.isMirror) app.use('/v1/*', onlyReads)
  addTrust(app, parts)
  addContents(app, parts.contents, parts.hashes)
  addOffers(app, parts)
  addEditions(app, parts.editions)
  addTiles(app, parts.log)
  return app
}

const onlyReads: MiddlewareHandler = async (c, next) => {
  if (c.req.method !== 'GET' && c.req.method !== 'HEAD')
    throw new Problem('forbidden', 'This is a mirror: publish where the log is kept.')
  await next()
}
