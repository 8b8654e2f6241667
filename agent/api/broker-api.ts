/** Each agent as a broker: who holds what, as far as it knows; and whom its owner has it ask. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { equal } from '../../protocol/bytes.ts'
import { isLive, parseAnnouncement, type Announcement } from '../../protocol/announcement.ts'
import { limits } from '../../protocol/limits.ts'
import { unlessBug } from '../../protocol/problem.ts'
import { binary, byInfoHash, jsonBody, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import type { Brokers } from '../brokers/brokers.ts'
import type { SwarmSeller } from '../clients/repository-client.ts'
import type { AgentContext } from '../context.ts'
import type { Peers } from '../download/peers.ts'
import type { Guard } from '../guard/guard.ts'
import type { Shares } from '../share/share.ts'

const TORRENT_TYPE = 'application/x-bittorrent'
const urls = z.array(z.string().max(limits.urlBytes)).max(limits.brokers)

const routes = {
  swarm: createRoute({
    method: 'get',
    path: '/v1/contents/{infoHash}/swarm',
    summary: 'Who offers a content: this agent, and those whom it has met',
    request: { params: byInfoHash },
    responses: ok(
      'The announcements, to be verified by the reader',
      z.object({ sellers: z.array(z.object({ announcement: wire.envelope, delegation: wire.envelope.optional() })) }),
    ),
  }),
  torrent: createRoute({
    method: 'get',
    path: '/v1/contents/{infoHash}/torrent',
    summary: 'The torrent of what this agent shares',
    request: { params: byInfoHash },
    responses: { 200: { description: 'The torrent', content: binary(TORRENT_TYPE) }, default: problemReply },
  }),
  brokers: createRoute({
    method: 'get',
    path: '/v1/brokers',
    responses: ok('Whom the agent asks first', z.object({ brokers: urls })),
  }),
  put: createRoute({
    method: 'put',
    path: '/v1/brokers',
    request: { body: jsonBody(z.strictObject({ brokers: urls })) },
    responses: ok('Whom it asks first from now on', z.object({ brokers: urls })),
  }),
}

export interface BrokerParts {
  readonly context: AgentContext
  readonly brokers: Brokers
  readonly shares: Pick<Shares, 'announcement' | 'torrent'>
  readonly peers: Pick<Peers, 'met'>
  readonly guard: Pick<Guard, 'requireRunning' | 'requireRoom' | 'serve'>
}

export function mountBrokers(app: OpenAPIHono, { context, brokers, shares, peers, guard }: BrokerParts): void {
  app.openapi(routes.swarm, async (c) => {
    const { infoHash } = c.req.valid('param')
    const own = await shares.announcement(infoHash)
    const named = own ? [{ announcement: own, delegation: context.delegation }] : []
    const sellers = [...named, ...liveAmong(context, await peers.met(infoHash))]
    return c.json({ sellers: sellers.slice(0, limits.swarmSellers).map(sellerJson) }, 200)
  })
  app.openapi(routes.torrent, async (c) => {
    await guard.requireRunning()
    await guard.requireRoom(true)
    const torrent = await shares.torrent(c.req.valid('param').infoHash)
    // As large as a few pieces, and free. Of HEAD, the framework sends no body.
    if (c.req.method !== 'HEAD') await guard.serve(torrent.length, true)
    return c.body(Uint8Array.from(torrent), 200, { 'content-type': TORRENT_TYPE })
  })
  app.openapi(routes.brokers, async (c) => c.json({ brokers: [...(await brokers.list())] }, 200))
  app.openapi(routes.put, async (c) => c.json({ brokers: [...(await brokers.put(c.req.valid('json').brokers))] }, 200))
}

/** Of others: our own is known better. What was shown here may be no announcement at all. */
function liveAmong({ environment, owner }: AgentContext, sellers: readonly SwarmSeller[]): readonly SwarmSeller[] {
  const nowMs = environment.clock.now()
  return sellers.filter(({ announcement }) => {
    const said = readable(announcement)
    return said && isLive(said, nowMs) && !equal(said.agent, owner)
  })
}

function readable(announcement: Envelope): Announcement | undefined {
  try {
    return parseAnnouncement(announcement)
  } catch (error) {
    return unlessBug(error)
  }
}

const sellerJson = ({ announcement, delegation }: SwarmSeller) => ({
  announcement: envelopeToJson(announcement),
  ...(delegation && { delegation: envelopeToJson(delegation) }),
})
