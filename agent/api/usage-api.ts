/** Bytes stored, served and fetched: for the owner, and, signed, for whom the owner lets read them. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { dayOf } from '../../protocol/delegation.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { jsonBody, ok } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { stateUsage } from '../../protocol/usage.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { Usage } from '../usage.ts'
import type { OwnerGuard } from './owner-guard.ts'

const readers = z.array(wire.id).max(limits.usageReaders)
const date = z.iso.date().openapi({ example: '2027-01-31' })

const routes = {
  usage: createRoute({
    method: 'get',
    path: '/v1/usage',
    request: {
      query: z.object({
        since: z
          .string()
          .regex(/^\d{1,15}$/)
          .optional(),
      }),
    },
    responses: ok('Bytes', z.object({ since: wire.time, stored: z.int(), served: z.int(), fetched: z.int() })),
  }),
  readers: createRoute({
    method: 'get',
    path: '/v1/usage/readers',
    responses: ok('Keys that may read the statements, besides the owner’s', z.object({ readers })),
  }),
  putReaders: createRoute({
    method: 'put',
    path: '/v1/usage/readers',
    request: { body: jsonBody(z.strictObject({ readers })) },
    responses: ok('Those that may from now on', z.object({ readers })),
  }),
  statement: createRoute({
    method: 'get',
    path: '/v1/statements/usage',
    summary: 'What was stored, served and fetched, day by day, signed by the agent; for a reader’s key or the owner’s',
    request: { query: z.strictObject({ from: date, to: date }) },
    responses: ok(
      'The statement, and what binds its signer to the owner',
      z.object({ usage: wire.envelope, delegation: wire.envelope, operations: z.array(wire.envelope) }),
    ),
  }),
}

const PK = 'setting'
const SK = 'usage-readers'

export interface UsageParts {
  readonly context: AgentContext
  readonly usage: Usage
  readonly doorkeeper: OwnerGuard
}

export function mountUsage(app: OpenAPIHono, { context, usage, doorkeeper }: UsageParts): void {
  const { store } = context
  async function allowed(): Promise<string[]> {
    const item = await store.get(PK, SK)
    return item ? decodeRecord<string[]>(item) : []
  }
  const mayRead = async (key: Bytes): Promise<boolean> => (await allowed()).includes(toHex(key))

  app.use('/v1/statements/*', doorkeeper.openTo(mayRead))
  app.openapi(routes.usage, async (c) => {
    const since = Number(c.req.valid('query').since ?? 0)
    return c.json({ since, ...(await usage.since(since)) }, 200)
  })
  app.openapi(routes.readers, async (c) => c.json({ readers: await allowed() }, 200))
  app.openapi(routes.putReaders, async (c) => {
    const given = [...new Set(c.req.valid('json').readers)]
    await store.write([{ pk: PK, sk: SK, expect: 'any', body: encodeRecord(given) }])
    return c.json({ readers: given }, 200)
  })
  app.openapi(routes.statement, async (c) => c.json(await statement(context, usage, c.req.valid('query')), 200))
}

async function statement(context: AgentContext, usage: Usage, dates: { from: string; to: string }) {
  const [from, to] = [dayOf(Date.parse(dates.from)), dayOf(Date.parse(dates.to))]
  if (from < 0 || to < from || to - from >= limits.usageDaysStated)
    throw new Problem(
      'bad-request',
      `A statement covers 1 to ${limits.usageDaysStated} days from 1970 on, and does not end before it begins.`,
    )
  const { owner, environment, signer, delegation, operations } = context
  const terms = { by: owner, days: await usage.days(from, to), from, issued: environment.clock.now(), to }
  return {
    usage: envelopeToJson(stateUsage(terms, signer)),
    delegation: envelopeToJson(delegation),
    operations: operations.map(envelopeToJson),
  }
}
