/** Circles on HTTP: what members ask the broker, and what the owner asks of their agent. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { createMiddleware } from 'hono/factory'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { verifyRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { jsonBody, jsonReply, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import { CIRCLE_KINDS, formatSession } from '../../protocol/session.ts'
import { envelopeFromJson } from '../../protocol/signed.ts'
import { circleShape, sessionShape, validShape } from '../circle/brokers-client.ts'
import type { Circles } from '../circle/circles.ts'
import type { Circle, OwnCircle } from '../circle/records.ts'
import type { AgentContext } from '../context.ts'

const name = z.string().regex(/^[a-z0-9-]{1,63}$/)
const byCircle = { params: z.object({ circle: name }) }
const byName = { params: z.object({ name }) }
const ids = z.array(wire.id).max(limits.membersPerCircle).optional()

const circleSchema = z
  .object({
    name: z.string(),
    kind: z.enum(CIRCLE_KINDS),
    by: wire.id,
    url: z.string().optional().openapi({ description: 'Of the broker’s agent, for a circle that was joined' }),
    members: z.array(wire.id).optional().openapi({ description: 'Of the owner’s own circle' }),
  })
  .openapi('Circle')

const grantRoute = {
  method: 'post',
  path: '/v1/sessions/{circle}',
  summary: 'A session for a member’s key; the request is signed with it (RFC 9421)',
  request: {
    ...byCircle,
    body: jsonBody(
      z.strictObject({
        operations: z.array(wire.envelope).min(1).max(limits.operationsPerIdentity),
        delegation: wire.envelope.optional(),
      }),
    ),
  },
  responses: { 201: jsonReply('body.key.signature, base64url each', sessionShape), default: problemReply },
} as const

const routes = {
  circle: createRoute({
    method: 'get',
    path: '/v1/sessions/{circle}',
    summary: 'What a circle is, and who was taken out within the life of a session',
    request: byCircle,
    responses: ok('The circle', circleShape),
  }),
  validate: createRoute({
    method: 'post',
    path: '/v1/sessions/{circle}/validations',
    summary: 'Whether a session holds now',
    request: { ...byCircle, body: jsonBody(sessionShape.strict()) },
    responses: ok('It does', validShape),
  }),
  circles: createRoute({
    method: 'get',
    path: '/v1/circles',
    responses: ok('The owner’s circles, and those that it has joined', z.array(circleSchema)),
  }),
  put: createRoute({
    method: 'put',
    path: '/v1/circles/{name}',
    request: {
      ...byName,
      body: jsonBody(
        z.union([
          z.strictObject({ url: z.string().max(limits.urlBytes) }),
          z
            .strictObject({ kind: z.enum(CIRCLE_KINDS).optional(), add: ids, remove: ids })
            .refine((change) => Object.keys(change).length > 0, 'A change says what to change.'),
        ]),
      ),
    },
    responses: ok('The circle, made, changed or joined', circleSchema),
  }),
  remove: createRoute({
    method: 'delete',
    path: '/v1/circles/{name}',
    request: byName,
    responses: ok('Ended, or left', z.object({ name: z.string() })),
  }),
}

export function mountCircles(app: OpenAPIHono, context: AgentContext, circles: Circles): void {
  mountBroker(app, context, circles)
  app.openapi(routes.circles, async (c) =>
    c.json(
      (await circles.list()).map((one) => circleJson(context, one)),
      200,
    ),
  )
  app.openapi(routes.put, async (c) => {
    const [{ name: given }, body] = [c.req.valid('param'), c.req.valid('json')]
    const circle = 'url' in body ? await circles.join(given, body.url) : await circles.change(given, body)
    return c.json(circleJson(context, circle), 200)
  })
  app.openapi(routes.remove, async (c) => {
    const { name: given } = c.req.valid('param')
    await circles.remove(given)
    return c.json({ name: given }, 200)
  })
}

function mountBroker(app: OpenAPIHono, context: AgentContext, { broker }: Circles): void {
  const grant = createRoute({ ...grantRoute, middleware: applicantKey(context) })
  app.openapi(routes.circle, async (c) => {
    return c.json(describe(context, await broker.own(c.req.valid('param').circle)), 200)
  })
  app.openapi(grant, async (c) => {
    const { operations, delegation } = c.req.valid('json')
    const session = await broker.grant(c.req.valid('param').circle, {
      key: c.get('key'),
      operations: operations.map((one) => envelopeFromJson(one)),
      delegation: delegation && envelopeFromJson(delegation),
    })
    return c.json({ session: formatSession(session) }, 201)
  })
  app.openapi(routes.validate, async (c) => {
    const { member, expires } = await broker.validate(c.req.valid('param').circle, c.req.valid('json').session)
    return c.json({ member: toHex(member), expires }, 200)
  })
}

/** Whoever signed the request, before its body is read. It may come twice: a session is worth nothing to another. */
function applicantKey(context: AgentContext) {
  const authorities = [new URL(context.publicUrl).host]
  const audience = toHex(context.owner)
  return createMiddleware<{ Variables: { key: Bytes } }>(async (c, next) => {
    const nowMs = context.environment.clock.now()
    const verified = await verifyRequest(c.req.raw, { authorities, audience, nowMs })
    c.set('key', verified.key)
    await next()
  })
}

function describe({ owner, environment }: AgentContext, { name: circle, kind, revoked }: OwnCircle) {
  const sinceMs = environment.clock.now() - limits.sessionMs
  const recent = revoked.filter((one) => one.sinceMs >= sinceMs)
  return { by: toHex(owner), circle, kind, revoked: recent.map((one) => ({ member: one.member, since: one.sinceMs })) }
}

const circleJson = ({ owner }: AgentContext, circle: Circle) => ({
  name: circle.name,
  kind: circle.kind,
  ...(circle.isOwn ? { by: toHex(owner), members: [...circle.members] } : { by: circle.by, url: circle.url }),
})
