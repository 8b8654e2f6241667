/**
 * What is free for all, file by file: to a browser by its link, and to BitTorrent clients as a web seed (BEP 19). It comes
 * from the address at which the owner's dashboard is, so no browser may take it for a page.
 */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import type { FilePath } from '../../protocol/file-path.ts'
import { filePath, withPlaces, type MetaFile, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem, problemOf } from '../../protocol/problem.ts'
import { binary, byInfoHash } from '../../protocol/route.ts'
import { problemReply, wire } from '../../protocol/service.ts'
import type { AgentContext } from '../context.ts'
import type { Guard } from '../guard/guard.ts'
import type { Seller, Sendable } from '../sell/sell.ts'
import type { Share, Shares } from '../share/share.ts'
import type { ByteRange } from '../storage/storage.ts'
import { askedRange } from './asked-range.ts'
import { FILES_PATH, publicLinks, TORRENTS_PATH } from './public-links.ts'

export interface FileReply {
  readonly status: 200 | 206
  readonly headers: Record<string, string>
  /** In their order; the first has been read, and is given back once it is taken from here. */
  readonly parts: AsyncGenerator<Sendable, void>
}

/** Puts a file on the wire, part by part, no faster than it is read there; and gives each part's buffer back. */
export type SendFile = (c: Context, reply: FileReply) => Response | Promise<Response>

/** For every host but Node: the bytes are copied, so that each buffer is free at once. */
export const sendFileCopy: SendFile = (_, { status, headers, parts }) => {
  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const { value, done } = await parts.next()
    if (done) return controller.close()
    controller.enqueue(new Uint8Array(value.body))
    value.done()
  }
  const cancel = async (): Promise<void> => parts.return().then(() => undefined)
  // The first is taken at once, whether or not anybody reads on.
  const body = new ReadableStream<Uint8Array>({ start: pull, pull, cancel }, { highWaterMark: 0 })
  return new Response(body, { status, headers })
}

export interface FilesParts {
  readonly context: Pick<AgentContext, 'publicUrl' | 'bittorrent' | 'answerBytes'>
  readonly seller: Pick<Seller, 'free' | 'freePart'>
  readonly shares: Pick<Shares, 'torrent'>
  readonly guard: Pick<Guard, 'serve'>
  readonly sendFile: SendFile
  /** Told of faults of ours once the head of an answer is out. */
  readonly onFault: (error: unknown) => void
}

const OCTETS = 'application/octet-stream'
const TORRENT_TYPE = 'application/x-bittorrent'

const torrentRoute = createRoute({
  method: 'get',
  path: `${TORRENTS_PATH}/{file}`,
  summary: 'The torrent of what is free for all, as a file for stock clients',
  request: {
    params: z.object({
      file: z
        .string()
        .regex(/^([0-9a-f]{64}|[0-9a-f]{40})\.torrent$/)
        .openapi({ example: '631a31dd0a46257d5078c0dee4e66e26f73e42ac.torrent' }),
    }),
  },
  responses: { 200: { description: 'The torrent', content: binary(TORRENT_TYPE) }, default: problemReply },
})

export function mountFiles(app: OpenAPIHono, { context, seller, shares, guard, sendFile, onFault }: FilesParts): void {
  app.openapi(torrentRoute, async (c) => {
    const share = await seller.free(c.req.valid('param').file.replace('.torrent', ''))
    const headers = { ...downloadHeaders(`${share.name}.torrent`), 'content-type': TORRENT_TYPE }
    if (c.req.method === 'HEAD') return c.body(null, 200, headers)
    const torrent = await shares.torrent(share.infoHash)
    await guard.serve(torrent.length, true)
    return c.body(withPlaces(torrent, publicLinks(context, share)), 200, headers)
  })

  /** For who has a browser and no BitTorrent client. */
  async function list(c: Context, share: Share): Promise<Response> {
    const headers = { ...HARMLESS, 'content-type': 'text/plain; charset=utf-8' }
    const text = utf8(
      publicLinks(context, share)
        .files.map((url) => `${url}\n`)
        .join(''),
    )
    if (c.req.method === 'HEAD') return c.body(null, 200, headers)
    await guard.serve(text.length, true)
    return c.body(text, 200, headers)
  }

  describeFiles(app)
  app.get(`${FILES_PATH}/:infoHash/*`, async (c) => {
    const { infoHash, path } = place(c)
    const share = await seller.free(infoHash)
    if (path.length === 1 && path[0] === '') return list(c, share)
    const file = fileAt(share.meta, path)
    if (!file) throw new Problem('not-found', 'The content has no such file.')
    const headers = headersOf(file)
    if (isKnown(c.req.header('if-none-match'), headers.etag)) return new Response(null, { status: 304, headers })
    const range = rangeOf(c, file, headers.etag, context.answerBytes)
    if (range === 'unsatisfiable') return refuseRange(file)
    const wanted = range ?? { offset: 0, length: file.length }
    const head = { ...headers, ...(range && contentRange(range, file)), 'content-length': String(wanted.length) }
    const status = range ? 206 : 200
    if (c.req.method === 'HEAD' || wanted.length === 0) return new Response(null, { status, headers: head })
    requireLength(context, share, wanted.length)
    const parts = await begun(told(onFault, partsOf(seller, share, file, wanted)))
    return sendFile(c, { status, headers: head, parts })
  })
}

/** Of a file's path, OpenAPI has no way to say that there may be slashes in it. */
function describeFiles(app: OpenAPIHono): void {
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: `${FILES_PATH}/{infoHash}/`,
    summary: 'The links of all files of what is free for all, one a line',
    request: { params: byInfoHash },
    responses: {
      200: { description: 'The links', content: { 'text/plain': { schema: z.string() } } },
      default: problemReply,
    },
  })
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: `${FILES_PATH}/{infoHash}/{path}`,
    summary: 'A file of what is free for all, or one range of it',
    description: 'The path in the torrent: the name of a file, or that of a folder and the path below it.',
    request: {
      params: byInfoHash.extend({ path: z.string() }),
      headers: z.object({
        range: z.string().optional(),
        'if-range': z.string().optional(),
        'if-none-match': z.string().optional(),
      }),
    },
    responses: {
      200: { description: 'The file', content: binary(OCTETS) },
      206: { description: 'The range of it that was asked for', content: binary(OCTETS) },
      304: { description: 'The reader has it' },
      416: { description: 'No byte of the file is in the range', content: problemReply.content },
      default: problemReply,
    },
  })
}

/** Names are read off the path as it came, each decoded once: a slash that is escaped is none between names. */
function place(c: Context): { infoHash: string; path: FilePath } {
  const [infoHash = '', ...names] = new URL(c.req.url).pathname.slice(FILES_PATH.length + 1).split('/')
  const { success, data } = wire.infoHash.safeParse(infoHash)
  if (!success) throw new Problem('bad-request', 'An info hash has 40 or 64 digits from 0 to f.')
  return { infoHash: data, path: names.map(decoded) }
}

/** What is no text is no name: a slash neither. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return '/'
  }
}

/** libtorrent asks for the only file of a folder by the folder's name. */
function fileAt(meta: Metainfo, path: FilePath): MetaFile | undefined {
  const [first, second] = meta.files
  if (!second && isSame([meta.name], path)) return first
  return meta.files.find((one) => isSame(filePath(meta, one), path))
}

const isSame = (a: FilePath, b: FilePath): boolean => a.length === b.length && a.every((name, i) => name === b[i])

/** Equal for the same bytes, whatever they are called. */
const etagOf = ({ piecesRoot }: MetaFile): string => `"${piecesRoot ? toHex(piecesRoot) : 'empty'}"`

const headersOf = (file: MetaFile) => ({
  ...downloadHeaders(file.path.at(-1) ?? ''),
  'content-type': OCTETS,
  'accept-ranges': 'bytes',
  etag: etagOf(file),
})

const downloadHeaders = (name: string) => ({ ...HARMLESS, 'content-disposition': attachment(name) })

const HARMLESS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'",
}

/** RFC 6266 §4.3: what every reader understands, and the name itself (RFC 8187). */
function attachment(name: string): string {
  const plain = name.replaceAll(/[^ -~]|["%\\]/gu, '_')
  const exact = encodeURIComponent(name).replaceAll(/[*'()]/g, (one) => `%${one.charCodeAt(0).toString(16)}`)
  return `attachment; filename="${plain}"; filename*=UTF-8''${exact}`
}

/** RFC 9110 §13.1.2 */
const isKnown = (known: string | undefined, etag: string): boolean =>
  known?.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag) ?? false

/**
 * RFC 9110 §13.1.5, §14.2: of GET alone, and only of the content that the reader has the rest of. More than an answer may have is
 * answered with its beginning (§15.3.7).
 */
function rangeOf(c: Context, { length }: MetaFile, etag: string, most = Infinity): ReturnType<typeof askedRange> {
  const isOther = (c.req.header('if-range') ?? etag) !== etag
  if (c.req.method !== 'GET' || isOther) return undefined
  const range = askedRange(c.req.header('range'), length)
  return typeof range === 'object' ? { ...range, length: Math.min(range.length, most) } : range
}

/** A file that breaks off for no reason that its reader knows would be asked for again, and charged, from its beginning. */
function requireLength(context: FilesParts['context'], share: Share, length: number): void {
  const most = context.answerBytes ?? Infinity
  if (length <= most) return
  const { torrent } = publicLinks(context, share)
  const how = `Ask for ranges of it, as "curl -r 0-${most - 1}" does, or open ${torrent} in a BitTorrent client.`
  throw new Problem('too-large', `The file has ${length} bytes, and one answer of this agent ${most}. ${how}`)
}

const contentRange = ({ offset, length }: ByteRange, file: MetaFile) => ({
  'content-range': `bytes ${offset}-${offset + length - 1}/${file.length}`,
})

function refuseRange({ length }: MetaFile): Response {
  const problem = new Problem('range-invalid', `The file has ${length} bytes.`)
  const headers = { 'content-type': 'application/problem+json', 'content-range': `bytes */${length}` }
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}

/** Each is asked for by itself: what the owner takes back, or stops, ends before the next piece. */
async function* partsOf(
  seller: FilesParts['seller'],
  { infoHash, pieceLength }: Share,
  { firstPiece }: MetaFile,
  range: ByteRange,
): AsyncGenerator<Sendable, void> {
  const end = range.offset + range.length
  for (let at = range.offset; at < end;) {
    const offset = at % pieceLength
    const length = Math.min(pieceLength - offset, end - at)
    yield await seller.freePart(infoHash, firstPiece + (at - offset) / pieceLength, { offset, length })
    at += length
  }
}

/** Whoever reads them on knows of no fault but that there is no more. */
async function* told(onFault: FilesParts['onFault'], parts: AsyncGenerator<Sendable, void>) {
  try {
    yield* parts
  } catch (error) {
    if (problemOf(error).status >= 500) onFault(error)
    throw error
  }
}

/** What is wrong with the first is answered with its problem: nothing of the answer is out yet. */
async function begun(parts: AsyncGenerator<Sendable, void>): Promise<AsyncGenerator<Sendable, void>> {
  const first = await parts.next()
  return (async function* () {
    if (!first.done) yield first.value
    yield* parts
  })()
}
