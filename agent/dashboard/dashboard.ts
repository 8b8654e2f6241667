/** The page at an agent's own address: static files, no request to anywhere else, and nothing of the owner's in them. */
import type { OpenAPIHono } from '@hono/zod-openapi'

export interface PageFile {
  /** Its media type. */
  readonly type: string
  readonly body: Uint8Array<ArrayBuffer>
}

/** Files by the path under which they are served. */
export type Dashboard = ReadonlyMap<string, PageFile>

/** The page loads what lies beside it, speaks to its agent, and can be framed, sent or scripted by nobody. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'cache-control': 'no-cache',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

export function mountDashboard(app: OpenAPIHono, dashboard: Dashboard): void {
  for (const [path, { type, body }] of dashboard) {
    app.get(path, (c) => c.body(body, 200, { ...HEADERS, 'content-type': type }))
  }
}
