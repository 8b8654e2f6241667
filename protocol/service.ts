/**
 * What every service's HTTP side has in common: problems (RFC 9457) for every error, 404 and 405, a limit on bodies,
 * `GET /healthz` and `GET /openapi.json` (OpenAPI 3.1).
 */
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context, HonoRequest, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { limits } from './limits.ts'
import { Problem, problemOf } from './problem.ts'

export interface ServiceInfo {
  readonly title: string
  readonly description: string
  /**
   * Bodies are refused above this, before they are parsed; `limits.jsonBytes` unless given for a path. One whose length is
   * not said must be read to be measured, before anybody asks who sends it: `limits.jsonBytes` at most.
   */
  readonly largerBodies?: readonly { readonly path: RegExp; readonly bytes: number }[]
  /** Told of every error that is a fault of ours, so that the operator sees what the caller must not. */
  readonly onFault?: (error: unknown) => void
}

export function createService(info: ServiceInfo): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw malformed(result.error.issues, result.target)
    },
  })
  app.use(methodNotAllowed({ app, onMethodNotAllowed: (c, methods) => refuseMethod(c, methods) }))
  // Checking the limit of a body builds a full Request: skipped for methods that have no body.
  app.use((c, next) =>
    c.req.method === 'GET' || c.req.method === 'HEAD' ? next() : limitBody(bodyBytes(info, c.req))(c, next),
  )
  app.notFound((c) => problemResponse(c, new Problem('not-found', `Nothing is at ${c.req.path}.`)))
  app.onError((error, c) => {
    const problem = problemIn(error)
    if (problem.status >= 500) info.onFault?.(error)
    return problemResponse(c, problem, retryAfter(problem))
  })
  app.openapi(healthRoute, (c) => c.json({ ok: true as const }, 200))
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: { title: info.title, version: '1', description: info.description },
  })
  return app
}

/** RFC 9110 §10.2.3, in whole seconds; a problem says it in milliseconds, as `retryAfterMs`. */
function retryAfter({ members: { retryAfterMs } }: Problem): Record<string, string> {
  return typeof retryAfterMs === 'number' && retryAfterMs > 0
    ? { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }
    : {}
}

/** The framework's own refusals are the request's fault, and so is a body that breaks off as its client goes. */
function problemIn(error: Error): Problem {
  const isBrokenOff = 'code' in error && error.code === 'ECONNRESET'
  if (isBrokenOff) return new Problem('bad-request', 'The request broke off.')
  return error instanceof HTTPException ? new Problem('bad-request', error.message) : problemOf(error)
}

const healthRoute = createRoute({
  method: 'get',
  path: '/healthz',
  summary: 'Whether the service answers',
  responses: {
    200: { description: 'It does', content: { 'application/json': { schema: z.object({ ok: z.literal(true) }) } } },
  },
})

function problemResponse(c: Context, problem: Problem, headers: Record<string, string> = {}): Response {
  return c.body(JSON.stringify(problem), problem.status as 400, {
    ...headers,
    'content-type': 'application/problem+json',
  })
}

/** The schema of every error reply, for `responses` of routes. */
const problemSchema = z
  .object({ type: z.string(), code: z.string(), title: z.string(), status: z.int(), detail: z.string() })
  .loose()
  .openapi('Problem')

export const problemReply = {
  description: 'A problem with a stable code (RFC 9457)',
  content: { 'application/problem+json': { schema: problemSchema } },
}

/** Schemas of the values that JSON carries as text. */
export const wire = {
  /** Credits: a decimal integer from 0 to 2^63-1. */
  money: z
    .string()
    .regex(/^(0|[1-9][0-9]{0,18})$/, { abort: true })
    .refine((text) => BigInt(text) <= limits.integer, 'above 2^63-1')
    .openapi({ example: '256' }),
  /** Credits of either sign. */
  difference: z
    .string()
    .regex(/^(0|-?[1-9][0-9]{0,18})$/)
    .openapi({ example: '-16' }),
  /** 32 bytes as lower-case hex: an id or a hash. */
  id: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .openapi({ example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' }),
  /** An info hash: v2 (32 bytes) or v1 (20 bytes) as lower-case hex. */
  infoHash: z.string().regex(/^([0-9a-f]{64}|[0-9a-f]{40})$/),
  /** Milliseconds since 1970. */
  time: z.int().min(0),
  base64url: z.string().regex(/^[A-Za-z0-9_-]*$/),
  /** A signed object: canonical bencode body, ed25519 key and signature, each base64url. */
  envelope: z
    .strictObject({ body: z.string(), key: z.string(), signature: z.string() })
    .openapi('Envelope', { description: 'A signed object' }),
} as const

const signedHead = { head: wire.envelope, delegation: wire.envelope.optional(), base: wire.envelope.optional() }

/** A vouch book whole, and one vouch of it: `BookJson` and `VouchProofJson` of `vouch.ts`. */
export const bookSchema = z.strictObject({ ...signedHead, vouches: wire.base64url }).openapi('Book')
export const vouchProofSchema = z
  .strictObject({ ...signedHead, vouch: wire.base64url, index: z.int().min(0), path: z.array(wire.base64url).max(32) })
  .openapi('VouchProof')

interface Issue {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** @param target what the issues are in, as Hono names it */
function malformed(issues: readonly Issue[], target: string): Problem {
  const fieldOf = ({ path }: Issue): string => path.map(String).join('.')
  const whole = target === 'json' ? 'body' : target
  const detail = issues.slice(0, 3).map((issue) => `${fieldOf(issue) || whole}: ${issue.message}`)
  const field = issues.map(fieldOf).find((name) => name !== '')
  return new Problem('bad-request', detail.join('; '), field === undefined ? {} : { field })
}

function bodyBytes({ largerBodies = [] }: ServiceInfo, request: HonoRequest): number {
  const larger = largerBodies.find(({ path }) => path.test(request.path))
  return larger && request.header('transfer-encoding') === undefined ? larger.bytes : limits.jsonBytes
}

function refuseMethod(c: Context, methods: readonly string[]): Response {
  const problem = new Problem('method-not-allowed', `${c.req.path} takes ${methods.join(', ')}.`)
  return problemResponse(c, problem, { allow: methods.join(', ') })
}

const limitBody = (maxSize: number): MiddlewareHandler =>
  bodyLimit({
    maxSize,
    onError: (c) =>
      problemResponse(c, new Problem('too-large', `${c.req.path} takes bodies of ${maxSize} bytes at most.`)),
  })
