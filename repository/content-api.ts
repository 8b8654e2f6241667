/** The endpoints of contents: torrents, metadata, and hashes of pieces of any size. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { HASH_BYTES, levelOf } from '../protocol/block-tree.ts'
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { problemReply, wire } from '../protocol/service.ts'
import type { Content, ContentFile, Contents } from './contents.ts'
import type { Hashes, HashPage } from './hashes.ts'
import { binary, byInfoHash, count, created, decimal, ok } from '../protocol/route.ts'

const FILES_ANSWERED = 1000
const HASHES_DEFAULT = 1024
const TORRENT_TYPE = 'application/x-bittorrent'

const v2 = z.object({ infoHash: wire.id })
const summary = z.object({
  infoHash: wire.id,
  infoHashV1: z.string(),
  name: z.string(),
  bytes: count,
  pieceLength: count,
  pieces: count,
})

const putRoute = createRoute({
  method: 'put',
  path: '/v1/contents/{infoHash}',
  summary: 'Make a content known by its torrent (hybrid, BEP 3 and BEP 52)',
  request: { params: v2, body: { required: true, content: binary(TORRENT_TYPE) } },
  responses: created('The content', summary),
})

const metadata = summary.extend({
  folder: z.boolean().optional(),
  fileCount: count.optional(),
  files: z
    .array(
      z.object({ path: z.array(z.string()).readonly(), length: count, piecesRoot: wire.id.optional(), pieces: count }),
    )
    .optional()
    .openapi({ description: 'A page of the files, from number `file` on' }),
  file: count.openapi({ description: 'Number of the file, or of the first one in the page' }),
  from: count.optional().openapi({ description: 'Index of the first hash, in the file' }),
  filePieces: count.optional().openapi({ description: 'Pieces of the file at the length asked for' }),
  hashes: z.array(wire.id).optional(),
  next: z
    .object({ file: count, from: count.optional() })
    .optional()
    .openapi({ description: 'Where the next page begins' }),
})

const getRoute = createRoute({
  method: 'get',
  path: '/v1/contents/{infoHash}',
  summary: 'Metadata; with `pieceLength` the hashes of one file’s pieces of that length',
  request: {
    params: byInfoHash,
    query: z.strictObject({
      pieceLength: decimal.optional().openapi({ description: 'A power of two, 16 KiB to 64 MiB' }),
      file: decimal.optional(),
      from: decimal.optional(),
      count: decimal.optional(),
    }),
  },
  responses: ok('The metadata; `pieceLength` and `pieces` are those asked for', metadata),
})

const torrentRoute = createRoute({
  method: 'get',
  path: '/v1/contents/{infoHash}/torrent',
  summary: 'The torrent: its info dictionary and piece layers',
  request: { params: byInfoHash },
  responses: { 200: { description: 'The torrent', content: binary(TORRENT_TYPE) }, default: problemReply },
})

const putLeavesRoute = createRoute({
  method: 'put',
  path: '/v1/contents/{infoHash}/leaves',
  summary: 'Add a run of SHA-256 hashes of 16 KiB blocks, so that hashes of smaller pieces can be given',
  request: {
    params: v2,
    query: z.strictObject({ file: decimal, from: decimal }),
    body: { required: true, content: binary('application/octet-stream') },
  },
  responses: ok('The run was added', z.object({ infoHash: wire.id, file: count, from: count, count })),
})

export function addContents(app: OpenAPIHono, contents: Contents, hashes: Hashes): void {
  app.openapi(putRoute, async (c) => {
    const { content, changed } = await contents.put(c.req.valid('param').infoHash, await bodyOf(c.req.raw))
    return c.json(summaryJson(content), changed ? 201 : 200)
  })
  app.openapi(getRoute, async (c) => {
    const content = await contents.require(c.req.valid('param').infoHash)
    const { pieceLength, file = 0, from = 0, count: asked } = c.req.valid('query')
    if (pieceLength === undefined) {
      const page = Math.min(asked ?? FILES_ANSWERED, FILES_ANSWERED)
      return c.json(filesJson(content, file, page === 0 ? [] : await contents.files(content, file, page)), 200)
    }
    checkPieceLength(pieceLength)
    const range = { pieceLength, file, from, count: asked ?? HASHES_DEFAULT }
    return c.json(hashesJson(content, range, await hashes.read(content, range)), 200)
  })
  app.openapi(torrentRoute, async (c) => {
    const content = await contents.require(c.req.valid('param').infoHash)
    return c.body(await contents.torrent(content), 200, { 'content-type': TORRENT_TYPE })
  })
  app.openapi(putLeavesRoute, async (c) => {
    const { infoHash } = c.req.valid('param')
    const { file, from } = c.req.valid('query')
    const leaves = await bodyOf(c.req.raw)
    await hashes.putLeaves(await contents.require(infoHash), { file, from, leaves })
    return c.json({ infoHash, file, from, count: leaves.length / HASH_BYTES }, 200)
  })
}

const bodyOf = async (request: Request): Promise<Bytes> => new Uint8Array(await request.arrayBuffer())

function checkPieceLength(pieceLength: number): void {
  const isPower = Number.isInteger(levelOf(pieceLength))
  if (!isPower || pieceLength < limits.pieceBytesMin || pieceLength > limits.pieceBytesMax) {
    throw new Problem(
      'bad-request',
      `A piece length is a power of two from ${limits.pieceBytesMin} to ${limits.pieceBytesMax}.`,
    )
  }
}

const summaryJson = ({ infoHash, infoHashV1, name, bytes, pieceLength, pieces }: Content) => ({
  infoHash,
  infoHashV1,
  name,
  bytes,
  pieceLength,
  pieces,
})

function filesJson(content: Content, first: number, files: readonly ContentFile[]) {
  const next = first + files.length
  return {
    ...summaryJson(content),
    folder: content.folder,
    fileCount: content.files,
    file: first,
    files: files.map(({ path, length, piecesRoot }) => ({
      path,
      length,
      pieces: Math.ceil(length / content.pieceLength),
      ...(piecesRoot && { piecesRoot: toHex(piecesRoot) }),
    })),
    ...(next < content.files && { next: { file: next } }),
  }
}

function hashesJson(
  content: Content,
  { pieceLength, file, from }: { pieceLength: number; file: number; from: number },
  page: HashPage,
) {
  const listed = Array.from({ length: page.hashes.length / HASH_BYTES }, (_, i) =>
    toHex(page.hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)),
  )
  const end = from + listed.length
  const isLast = end >= page.pieces
  const next = isLast ? { file: file + 1, from: 0 } : { file, from: end }
  return {
    ...summaryJson(content),
    pieceLength,
    pieces: content.piecesByLevel[levelOf(pieceLength)] ?? 0,
    file,
    from,
    filePieces: page.pieces,
    hashes: listed,
    ...(next.file < content.files && { next }),
  }
}
