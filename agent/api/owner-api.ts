/** What the owner asks of their agent; every request is signed by the owner's key. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { formatMagnet } from '../../protocol/magnet.ts'
import { Problem } from '../../protocol/problem.ts'
import { byInfoHash, jsonBody, jsonReply, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import type { Circles } from '../circle/circles.ts'
import type { AgentContext } from '../context.ts'
import type { Download, Downloads } from '../download/download.ts'
import type { Linking } from '../storage/linking.ts'
import type { Links } from '../storage/links.ts'
import type { Seller } from '../sell/sell.ts'
import { isForAll, type Share, type Shares } from '../share/share.ts'
import type { Trust } from '../trust/trust.ts'
import { mountLinks } from './links-api.ts'
import { publicLinks } from './public-links.ts'
import { mountProofs } from './proofs-api.ts'
import { mountTrust } from './trust-api.ts'

export interface OwnerParts {
  readonly context: AgentContext
  readonly circles: Pick<Circles, 'require'>
  readonly links: Links
  readonly linking: Linking
  readonly shares: Shares
  readonly seller: Seller
  readonly downloads: Downloads
  readonly trust: Trust
}

const shareSchema = z
  .object({
    infoHash: wire.id,
    infoHashV1: z.string(),
    magnet: z.string(),
    url: z.string().optional(),
    torrent: z.string().optional(),
    name: z.string(),
    bytes: z.int(),
    pieceLength: z.int(),
    pieces: z.int(),
    price: wire.money,
    public: z.boolean(),
    link: z.string(),
    path: z.string(),
    withdrawn: z.string().optional(),
    refused: z.string().optional(),
    circle: z.string().optional(),
    series: z.string().optional(),
  })
  .openapi('Share')

const downloadSchema = z
  .object({
    id: z.string(),
    state: z.enum(['queued', 'running', 'waiting', 'paused', 'done', 'failed', 'cancelled']),
    reason: z.string().optional(),
    detail: z.string().optional(),
    until: wire.time.optional(),
    infoHash: wire.id,
    name: z.string(),
    bytes: z.int(),
    done: z.int(),
    pieces: z.int(),
    piecesDone: z.int(),
    paid: wire.money,
    ticks: z.int(),
    file: z.string().optional(),
    link: z.string(),
    maxPrice: wire.money.optional(),
    bytesPerSecond: z.number().optional(),
    secondsLeft: z.number().optional(),
    sellers: z.array(
      z.object({
        id: wire.id,
        url: z.string(),
        pieces: z.int(),
        bytes: z.int(),
        ticks: z.int(),
        status: z.string(),
        detail: z.string().optional(),
      }),
    ),
  })
  .openapi('Download')

const balanceSchema = z
  .object({ available: wire.money, frozen: wire.money, earned: wire.money, bonds: wire.money, outstanding: wire.money })
  .openapi('Balance')

const foundSchema = z
  .object({
    infoHash: wire.id,
    name: z.string(),
    bytes: z.int(),
    pieces: z.int().optional(),
    sellers: z.int(),
    price: wire.money,
  })
  .openapi('Found')

const byId = { params: z.object({ id: z.string().regex(/^[0-9a-zA-Z_-]{1,64}$/) }) }

const routes = {
  shares: createRoute({
    method: 'get',
    path: '/v1/shares',
    responses: ok('What this agent shares', z.array(shareSchema)),
  }),
  share: createRoute({
    method: 'post',
    path: '/v1/shares',
    request: {
      body: jsonBody(
        z.strictObject({
          path: z.string().min(1).max(4096),
          link: z.string().optional(),
          price: wire.money.optional(),
          belowCost: z.boolean().optional(),
          public: z.boolean().optional(),
          circle: z.string().max(63).optional(),
          series: z.string().optional(),
          keep: z.boolean().optional(),
        }),
      ),
    },
    responses: { 201: jsonReply('The share; the same again for the same path', shareSchema), default: problemReply },
  }),
  unshare: createRoute({
    method: 'delete',
    path: '/v1/shares/{infoHash}',
    request: { params: byInfoHash },
    responses: ok('No longer shared', z.object({ infoHash: wire.infoHash })),
  }),
  downloads: createRoute({
    method: 'get',
    path: '/v1/downloads',
    responses: ok('Newest first', z.array(downloadSchema)),
  }),
  startDownload: createRoute({
    method: 'post',
    path: '/v1/downloads',
    request: {
      body: jsonBody(
        z.strictObject({
          source: z.string().min(1).openapi({ description: 'Info hash, magnet link, or a torrent file in base64url' }),
          link: z.string().optional(),
          maxPrice: wire.money.optional(),
        }),
      ),
    },
    responses: { 202: jsonReply('Saved; it goes on by itself', downloadSchema), default: problemReply },
  }),
  download: createRoute({
    method: 'get',
    path: '/v1/downloads/{id}',
    request: byId,
    responses: ok('The download', downloadSchema),
  }),
  changeDownload: createRoute({
    method: 'post',
    path: '/v1/downloads/{id}/{action}',
    request: { params: byId.params.extend({ action: z.enum(['pause', 'resume', 'cancel']) }) },
    responses: ok('The download after it', downloadSchema),
  }),
  balance: createRoute({
    method: 'get',
    path: '/v1/balance',
    responses: ok('The ledger’s account and the ticks not yet redeemed', balanceSchema),
  }),
  redeem: createRoute({
    method: 'post',
    path: '/v1/redemptions',
    request: { body: jsonBody(z.strictObject({ all: z.boolean().optional() })) },
    responses: ok('The balance after it', balanceSchema),
  }),
  search: createRoute({
    method: 'get',
    path: '/v1/search',
    request: { query: z.object({ query: z.string().max(limits.queryBytes) }) },
    responses: ok('What the agent’s repository finds', z.array(foundSchema)),
  }),
}

export function mountOwnerApi(app: OpenAPIHono, parts: OwnerParts): void {
  mountShares(app, parts)
  mountDownloads(app, parts.downloads)
  mountLinks(app, parts)
  mountMoney(app, parts)
  mountTrust(app, parts)
  mountProofs(app, parts.context)
  app.openapi(routes.search, async (c) => {
    const found = await parts.context.repository.search(c.req.valid('query').query)
    return c.json(
      found.map((one) => ({ ...one, price: one.price.toString() })),
      200,
    )
  })
}

function mountShares(app: OpenAPIHono, { context, shares, circles }: OwnerParts): void {
  const shareJson = (share: Share) => jsonOf(share, placesOf(context, share))
  app.openapi(routes.shares, async (c) => c.json((await shares.list()).map(shareJson), 200))
  app.openapi(routes.share, async (c) => {
    const { path, link, price, belowCost, public: isPublic, circle, series, keep } = c.req.valid('json')
    if (circle) await circles.require(circle)
    const share = await shares.add({
      path,
      ...(link === undefined ? {} : { link }),
      ...(price === undefined ? {} : { price: BigInt(price) }),
      ...(belowCost === undefined ? {} : { belowCost }),
      ...(isPublic === undefined ? {} : { public: isPublic }),
      ...(circle === undefined ? {} : { circle }),
      ...(series === undefined ? {} : { series }),
      ...(keep === undefined ? {} : { keep }),
    })
    return c.json(shareJson(share), 201)
  })
  app.openapi(routes.unshare, async (c) => {
    const { infoHash } = c.req.valid('param')
    await shares.remove(infoHash)
    return c.json({ infoHash }, 200)
  })
}

function mountDownloads(app: OpenAPIHono, downloads: Downloads): void {
  app.openapi(routes.downloads, async (c) => c.json((await downloads.list()).map(downloadJson), 200))
  app.openapi(routes.startDownload, async (c) => {
    const { source, link, maxPrice } = c.req.valid('json')
    const download = await downloads.start({
      source,
      ...(link === undefined ? {} : { link }),
      ...(maxPrice === undefined ? {} : { maxPrice: BigInt(maxPrice) }),
    })
    return c.json(downloadJson(download), 202)
  })
  app.openapi(routes.download, async (c) => {
    const download = await downloads.get(c.req.valid('param').id)
    if (!download) throw new Problem('not-found', 'There is no such download.')
    return c.json(downloadJson(download), 200)
  })
  app.openapi(routes.changeDownload, async (c) => {
    const { id, action } = c.req.valid('param')
    return c.json(downloadJson(await downloads[action](id)), 200)
  })
}

function mountMoney(app: OpenAPIHono, { context, seller }: OwnerParts): void {
  async function balance() {
    const account = await context.ledger.account(toHex(context.owner))
    return {
      available: account.available.toString(),
      frozen: account.frozen.toString(),
      earned: account.earned.toString(),
      bonds: account.bonds.toString(),
      outstanding: (await seller.outstanding()).toString(),
    }
  }
  app.openapi(routes.balance, async (c) => c.json(await balance(), 200))
  app.openapi(routes.redeem, async (c) => {
    await seller.redeem({ all: c.req.valid('json').all ?? false })
    return c.json(await balance(), 200)
  })
}

/** What is for all says where anybody gets it. */
function placesOf(context: AgentContext, share: Share) {
  if (!isForAll(share)) return { magnet: formatMagnet(share.meta) }
  const { tracker, webSeed, torrent, url } = publicLinks(context, share)
  const magnet = formatMagnet({ ...share.meta, ...(tracker !== undefined && { tracker }), webSeed })
  return { magnet, url, torrent }
}

const jsonOf = (share: Share, places: ReturnType<typeof placesOf>) => ({
  infoHash: share.infoHash,
  infoHashV1: share.infoHashV1,
  ...places,
  name: share.name,
  bytes: share.bytes,
  pieceLength: share.pieceLength,
  pieces: share.pieces,
  price: share.price.toString(),
  public: share.public,
  link: share.link,
  path: share.path,
  ...(share.withdrawn === undefined ? {} : { withdrawn: share.withdrawn }),
  ...(share.refused === undefined ? {} : { refused: share.refused }),
  ...(share.circle === undefined ? {} : { circle: share.circle }),
  ...(share.series === undefined ? {} : { series: share.series }),
})

const downloadJson = ({ maxPrice, paid, sellers, createdMs: _, ...download }: Download) => ({
  ...download,
  paid: paid.toString(),
  ...(maxPrice === undefined ? {} : { maxPrice: maxPrice.toString() }),
  sellers: sellers.map((seller) => ({ ...seller })),
})
