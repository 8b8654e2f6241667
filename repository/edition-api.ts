/** The endpoints of editions: what an owner shares under a name, and that there is a new one. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { fromHex } from '../protocol/bytes.ts'
import { byId, count, created, decimal, jsonBody, ok } from '../protocol/route.ts'
import { wire } from '../protocol/service.ts'
import { envelopeFromJson, envelopeToJson } from '../protocol/signed.ts'
import { placeOf, type Editions } from './editions.ts'

const edition = { edition: wire.envelope, delegation: wire.envelope.optional() }

const putRoute = createRoute({
  method: 'post',
  path: '/v1/editions',
  summary: 'Say that a series holds another content from now on',
  request: { body: jsonBody(z.strictObject(edition)) },
  responses: created('Where it stands', z.object({ by: wire.id, name: z.string(), seq: count })),
})

const listRoute = createRoute({
  method: 'get',
  path: '/v1/editions/{id}',
  summary: 'The editions of an owner after a number, or the newest',
  request: { params: byId, query: z.strictObject({ after: decimal.optional() }) },
  responses: ok(
    'The editions in their order, to be verified by the reader',
    z.object({ editions: z.array(z.object(edition)) }),
  ),
})

export function addEditions(app: OpenAPIHono, editions: Editions): void {
  app.openapi(putRoute, async (c) => {
    const { edition: json, delegation } = c.req.valid('json')
    const put = await editions.put(envelopeFromJson(json), delegation && envelopeFromJson(delegation))
    return c.json(placeOf(put.edition), put.changed ? 201 : 200)
  })
  app.openapi(listRoute, async (c) => {
    const kept = await editions.list(fromHex(c.req.valid('param').id), c.req.valid('query').after)
    const json = kept.map((each) => ({
      edition: envelopeToJson(each.edition),
      ...(each.delegation && { delegation: envelopeToJson(each.delegation) }),
    }))
    return c.json({ editions: json }, 200)
  })
}
