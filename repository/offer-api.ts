/** The endpoints of who offers what. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isWithdrawal } from '../protocol/announcement.ts'
import { fromHex, toHex } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { wire } from '../protocol/service.ts'
import { envelopeFromJson, envelopeToJson } from '../protocol/signed.ts'
import type { Announcements } from './announcements.ts'
import type { Contents } from './contents.ts'
import { byInfoHash, count, created, jsonBody, ok } from '../protocol/route.ts'
import type { Search } from './search.ts'
import type { Swarm } from './swarm.ts'

const announceRoute = createRoute({
  method: 'post',
  path: '/v1/announcements',
  summary: 'Offer a content, or withdraw it',
  request: { body: jsonBody(z.strictObject({ announcement: wire.envelope, delegation: wire.envelope.optional() })) },
  responses: created(
    'The owner’s newest announcement of the content',
    z.object({ infoHash: wire.id, agent: wire.id, expires: wire.time, withdrawn: z.boolean() }),
  ),
})

const swarmRoute = createRoute({
  method: 'get',
  path: '/v1/contents/{infoHash}/swarm',
  summary: 'Who offers a content: first those whom the reader vouches for, then the cheapest',
  request: { params: byInfoHash, query: z.strictObject({ for: wire.id.optional() }) },
  responses: ok(
    'The announcements, to be verified by the reader',
    z.object({ sellers: z.array(z.object({ announcement: wire.envelope, delegation: wire.envelope.optional() })) }),
  ),
})

const searchRoute = createRoute({
  method: 'get',
  path: '/v1/search',
  summary: 'Contents on offer by the words of their names, or how those begin',
  request: { query: z.strictObject({ query: z.string().max(limits.queryBytes) }) },
  responses: ok(
    'The contents',
    z.array(
      z.object({
        infoHash: wire.id,
        name: z.string(),
        bytes: count,
        pieces: count.optional(),
        sellers: count,
        price: wire.money,
      }),
    ),
  ),
})

export interface OfferParts {
  readonly contents: Contents
  readonly announcements: Announcements
  readonly swarm: Swarm
  readonly search: Search
}

export function addOffers(app: OpenAPIHono, { contents, announcements, swarm, search }: OfferParts): void {
  app.openapi(announceRoute, async (c) => {
    const { announcement: envelope, delegation } = c.req.valid('json')
    const { announcement, changed } = await announcements.put(
      envelopeFromJson(envelope),
      delegation && envelopeFromJson(delegation),
    )
    const { infoHash, agent, expires } = announcement
    const reply = { infoHash: toHex(infoHash), agent: toHex(agent), expires, withdrawn: isWithdrawal(announcement) }
    return c.json(reply, changed ? 201 : 200)
  })
  app.openapi(swarmRoute, async (c) => {
    const { infoHash } = await contents.require(c.req.valid('param').infoHash)
    const reader = c.req.valid('query').for
    const offers = await swarm.of(infoHash, reader === undefined ? undefined : fromHex(reader))
    const sellers = offers.map(({ announcement, delegation }) => ({
      announcement: envelopeToJson(announcement),
      ...(delegation && { delegation: envelopeToJson(delegation) }),
    }))
    return c.json({ sellers }, 200)
  })
  app.openapi(searchRoute, async (c) => {
    const found = await search.find(c.req.valid('query').query)
    return c.json(
      found.map((each) => ({ ...each, price: String(each.price) })),
      200,
    )
  })
}
