/** Linked storages, over HTTP: for the owner, and the way back from a provider's page. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { jsonBody, jsonReply, ok } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import type { Downloads } from '../download/download.ts'
import { isUnderWay } from '../download/record.ts'
import { CALLBACK_PATH, type Linking } from '../storage/linking.ts'
import type { LinkInfo, Links } from '../storage/links.ts'
import { BUCKET } from '../storage/names.ts'

const linkSchema = z
  .object({
    name: z.string(),
    kind: z.string(),
    place: z.string().optional().openapi({ description: 'Its folder, or its bucket and prefix' }),
    quota: z.object({ total: z.int(), used: z.int() }).partial().optional(),
    reason: z.string().optional().openapi({ description: 'Why it cannot be used now: a problem’s code' }),
    detail: z.string().optional(),
  })
  .openapi('Link')

const clientId = z.string().min(1).max(256)
const folder = z.string().min(1).max(900).optional()

const linkExtras = {
  name: z.string().optional(),
  secret: z
    .record(z.string().max(64), z.string().max(8192))
    .optional()
    .openapi({ description: 'What it takes to get in, such as `refreshToken`; kept sealed, never answered' }),
}

const routes = {
  links: createRoute({
    method: 'get',
    path: '/v1/links',
    responses: ok('Linked storages, the default first', z.array(linkSchema)),
  }),
  link: createRoute({
    method: 'post',
    path: '/v1/links',
    request: {
      body: jsonBody(
        z.discriminatedUnion('kind', [
          z.strictObject({ kind: z.literal('folder'), path: z.string().min(1).max(4096), ...linkExtras }),
          z.strictObject({
            kind: z.literal('s3'),
            bucket: z.string().regex(BUCKET),
            prefix: z.string().min(1).max(900).optional(),
            region: z.string().max(64).optional(),
            lends: z.boolean().optional(),
            ...linkExtras,
          }),
          z.strictObject({ kind: z.literal('drive'), clientId, folder, ...linkExtras }),
          z.strictObject({ kind: z.literal('dropbox'), appKey: clientId, folder, ...linkExtras }),
        ]),
      ),
    },
    responses: { 201: jsonReply('Linked', linkSchema), default: problemReply },
  }),
  unlink: createRoute({
    method: 'delete',
    path: '/v1/links/{name}',
    request: { params: z.object({ name: z.string() }) },
    responses: ok(
      'Unlinked; its files stay, and downloads into it are paused. `revoked` where there was a token: whether the provider took it back',
      z.object({ name: z.string(), revoked: z.boolean().optional() }),
    ),
  }),
  authorize: createRoute({
    method: 'post',
    path: '/v1/authorizations',
    request: {
      body: jsonBody(
        z.strictObject({
          kind: z.enum(['drive', 'dropbox']),
          clientId,
          clientSecret: z.string().min(1).max(256).optional(),
          folder,
          name: z.string().optional(),
          redirectUri: z.string().max(256).optional(),
        }),
      ),
    },
    responses: {
      201: jsonReply(
        'A page of the provider’s for the owner’s browser',
        z.object({ url: z.string(), state: z.string(), expires: wire.time }),
      ),
      default: problemReply,
    },
  }),
  authorized: createRoute({
    method: 'put',
    path: '/v1/authorizations',
    request: { body: jsonBody(z.strictObject({ state: z.string().max(128), code: z.string().max(4096) })) },
    responses: { 200: jsonReply('Linked', linkSchema), default: problemReply },
  }),
  callback: createRoute({
    method: 'get',
    path: CALLBACK_PATH,
    summary: 'The way back from a provider’s page: links the drive that the owner has just allowed',
    request: {
      query: z.object({
        state: z.string().max(128).optional(),
        code: z.string().max(4096).optional(),
        error: z.string().max(256).optional(),
      }),
    },
    responses: {
      200: { description: 'Linked: a page that says so', content: { 'text/html': { schema: z.string() } } },
      default: problemReply,
    },
  }),
}

export interface LinkParts {
  readonly links: Links
  readonly linking: Linking
  readonly downloads: Pick<Downloads, 'list' | 'pause'>
}

export function mountLinks(app: OpenAPIHono, { links, linking, downloads }: LinkParts): void {
  app.openapi(routes.links, async (c) => c.json((await links.list()).map(linkJson), 200))
  app.openapi(routes.link, async (c) => {
    const { kind, ...options } = c.req.valid('json')
    return c.json(linkJson(await links.add(kind, options)), 201)
  })
  app.openapi(routes.unlink, async (c) => {
    const { name } = c.req.valid('param')
    await pauseInto(name, downloads)
    return c.json({ name, ...(await links.remove(name)) }, 200)
  })
  app.openapi(routes.authorize, async (c) => c.json({ ...(await linking.begin(c.req.valid('json'))) }, 201))
  app.openapi(routes.authorized, async (c) => {
    const { state, code } = c.req.valid('json')
    return c.json(linkJson(await linking.finish(state, code)), 200)
  })
  app.openapi(routes.callback, async (c) => {
    try {
      const { name } = await linkedBy(linking, c.req.valid('query'))
      return page(200, `Linked as “${name}”. You can close this page.`)
    } catch (error) {
      // It is a person who comes here, with a browser.
      if (!(error instanceof Problem) || !c.req.header('accept')?.includes('text/html')) throw error
      return page(error.status, `${error.message} You can close this page.`)
    }
  })
}

/** A download keeps the storage that it has opened, and would go on paying and writing into it. */
async function pauseInto(link: string, downloads: LinkParts['downloads']): Promise<void> {
  const into = (await downloads.list()).filter((download) => download.link === link && isUnderWay(download.state))
  // Another may have come to its end just now.
  await Promise.all(into.map(({ id }) => downloads.pause(id).catch(unlessBug)))
}

interface Query {
  readonly state?: string | undefined
  readonly code?: string | undefined
  readonly error?: string | undefined
}

async function linkedBy(linking: Linking, { state, code, error }: Query): Promise<LinkInfo> {
  if (error !== undefined) throw new Problem('forbidden', 'Not linked: it was not allowed.')
  if (state !== undefined && code !== undefined) return linking.finish(state, code)
  throw new Problem('bad-request', 'Not linked: the provider’s page sent no answer along.')
}

/** The address of this page holds the code: it is kept nowhere and told nobody. */
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

const page = (status: number, text: string): Response =>
  new Response(`<!doctype html><meta charset="utf-8"><title>Raincheck</title><p>${escaped(text)}</p>\n`, {
    status,
    headers: PAGE_HEADERS,
  })

const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)

const linkJson = (link: LinkInfo) => ({
  name: link.name,
  kind: link.kind,
  ...(link.place !== undefined && { place: link.place }),
  ...(link.quota ? { quota: link.quota } : {}),
  ...(link.reason !== undefined && { reason: link.reason, detail: link.detail }),
})
