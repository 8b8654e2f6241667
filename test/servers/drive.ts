/**
 * A small Google Drive over HTTP (Drive API v3, and Google's OAuth 2), as strict as the provider and with faults by script.
 * It stands for a provider that a test cannot reach.
 */
import type { Step } from '../conformance/storage-world.ts'
import { errorReply, driveError, refusalReply } from './drive-errors.ts'
import { applyFields, parseFields, type Mask } from './drive-fields.ts'
import { parseQuery } from './drive-query.ts'
import { createDriveState, FILE_FIELDS, FOLDER, ROOT, type DriveFile, type DriveState } from './drive-state.ts'
import { createUploads } from './drive-uploads.ts'
import { createOAuth, type OAuthServer } from './oauth-server.ts'
import {
  jsonReply,
  rangeReply,
  startProvider,
  type Provider,
  type ProviderServer,
  type Reply,
  type ServerRequest,
} from './provider-server.ts'
import { bytesContent, type Content, type Keep } from './s3-content.ts'

export const DRIVE_CLIENT = {
  id: 'client.apps.googleusercontent.com',
  secret: 'GOCSPX-client-secret',
  redirects: ['http://127.0.0.1:*/', 'http://127.0.0.1:*/v1/oauth/callback'],
}
export const DRIVE_FILE_SCOPE = 'https://www.googleapis.com/auth/drive.file'

export interface DriveServer extends ProviderServer {
  readonly state: DriveState
  readonly oauth: OAuthServer
  /** Sessions that are open, and have got so many bytes. @param bytesLeast default 0 */
  sessions(bytesLeast?: number): readonly string[]
  /** The one session that is open has got this, without its being sent. */
  receive(content: Content): void
}

export interface DriveOptions {
  readonly now?: () => number
  readonly keep?: Keep
}

type Handler = (request: ServerRequest) => Reply

const PAGE_MOST = 1000

export async function startDrive({
  now = () => Date.now(),
  keep = bytesContent,
}: DriveOptions = {}): Promise<DriveServer> {
  const state = createDriveState(now)
  let url = ''
  const uploads = createUploads(state, () => url, keep)
  const oauth = createOAuth({
    client: DRIVE_CLIENT,
    demands: { access_type: 'offline' },
    scopes: [
      DRIVE_FILE_SCOPE,
      'https://www.googleapis.com/auth/drive.readonly',
      'https://www.googleapis.com/auth/drive',
    ],
    prefix: 'ya29.',
    revokesAll: true,
  })
  const operations = createFiles(state, oauth)

  function handlerOf(request: ServerRequest): Handler {
    const { method, url: at } = request
    const session = at.searchParams.has('upload_id')
    if (at.pathname === '/upload/drive/v3/files' && session) {
      if (method === 'PUT') return (one) => uploads.put(one)
      if (method === 'DELETE') return (one) => uploads.cancel(one)
    }
    if (at.pathname === '/upload/drive/v3/files' && method === 'POST') return openSession
    return operations(request)
  }

  function openSession(request: ServerRequest): Reply {
    if (request.url.searchParams.get('uploadType') !== 'resumable')
      return driveError(400, 'badRequest', 'Bad upload type.')
    const fields = fieldsIn(request)
    return uploads.open(request, operations.newFile(request), fields)
  }

  const provider: Provider = {
    stepOf,
    answer(request) {
      const { pathname } = request.url
      if (pathname === '/o/oauth2/v2/auth') return oauth.authorize(request)
      if (pathname === '/token') return oauth.token(request)
      if (pathname === '/revoke') return revoke(request, oauth)
      if (oauth.scopeOf(request) === undefined) return errorReply(401, 'authError', 'Invalid Credentials')
      return handlerOf(request)(request)
    },
    refuse(request, refusal) {
      if (request.url.pathname === '/token' && refusal.why === 'denied')
        return jsonReply(400, { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' })
      if (refusal.why === 'token-expired') oauth.expire(request)
      if (refusal.why === 'session-gone') uploads.end(request)
      return refusalReply(refusal)
    },
    forget: (request, bytes) => uploads.put(request, bytes),
  }
  const server = await startProvider(provider)
  url = server.url
  return {
    ...server,
    state,
    oauth,
    sessions: (bytesLeast = 0) => uploads.unfinished(bytesLeast),
    receive: (content) => uploads.receive(content),
  }
}

function revoke({ body, url }: ServerRequest, oauth: OAuthServer): Reply {
  const token = new URLSearchParams(body.toString()).get('token') ?? url.searchParams.get('token') ?? ''
  return oauth.revoke(token) ? jsonReply(200, {}) : jsonReply(400, { error: 'invalid_token' })
}

function stepOf({ method, url, headers }: ServerRequest): Step {
  const { pathname, searchParams: query } = url
  if (pathname === '/token') return 'token'
  if (query.has('upload_id')) {
    if (method === 'DELETE') return 'abort'
    return headers['content-range']?.startsWith('bytes *') ? 'written' : 'put'
  }
  if (method === 'POST' || pathname.endsWith('/generateIds')) return 'begin'
  if (method === 'PATCH') return 'commit'
  if (method === 'DELETE') return 'abort'
  if (query.get('alt') === 'media') return 'read'
  if (pathname === '/drive/v3/files') return query.get('q')?.includes('name =') ? 'stat' : 'list'
  return 'stat'
}

/** @returns undefined where none are asked for */
function fieldsIn({ url }: ServerRequest): Mask | undefined {
  const text = url.searchParams.get('fields')
  if (text === null) return undefined
  return parseFields(text) ?? driveError(400, 'invalidParameter', `Invalid field selection ${text}`)
}

const DEFAULT_FILE: Mask = { kind: true, id: true, name: true, mimeType: true }

interface Files extends Handler1 {
  newFile(request: ServerRequest): ReturnType<typeof parseNewFile>
}
type Handler1 = (request: ServerRequest) => Handler

function createFiles(state: DriveState, oauth: OAuthServer): Files {
  const selected = (value: unknown, mask: Mask, known: readonly string[]): unknown =>
    applyFields(value, mask, known) ?? driveError(400, 'invalidParameter', 'Invalid field selection')
  const resource = (file: DriveFile, request: ServerRequest): Reply =>
    jsonReply(200, selected(state.resource(file), fieldsIn(request) ?? DEFAULT_FILE, FILE_FIELDS))
  const isSeen = (file: DriveFile, request: ServerRequest): boolean =>
    file.ours || oauth.scopeOf(request) !== DRIVE_FILE_SCOPE

  function fileOf(request: ServerRequest): DriveFile {
    const [, named = ''] = /^\/drive\/v3\/files\/([^/]+)$/.exec(request.url.pathname) ?? []
    const id = named === 'root' ? ROOT : decodeURIComponent(named)
    const file = state.files.get(id)
    return file && isSeen(file, request) ? file : driveError(404, 'notFound', `File not found: ${id}.`)
  }

  function about(request: ServerRequest): Reply {
    const mask = fieldsIn(request)
    if (!mask) return driveError(400, 'required', "The 'fields' parameter is required for this method.")
    const used = String(state.used())
    const storageQuota = { limit: String(state.limit), usage: used, usageInDrive: used, usageInDriveTrash: '0' }
    const owner = oauth.userOf(request)
    const user = { kind: 'drive#user', permissionId: `id-${owner}`, emailAddress: `${owner}@example.org` }
    const names = [...Object.keys(storageQuota), ...Object.keys(user), 'storageQuota', 'user']
    return jsonReply(200, selected({ storageQuota, user }, mask, names))
  }

  function list(request: ServerRequest): Reply {
    const query = request.url.searchParams
    const test = parseQuery((query.get('q') ?? 'trashed = false').replaceAll("'root'", `'${ROOT}'`))
    const size = Number(query.get('pageSize') ?? 100)
    const order = query.get('orderBy') ?? 'createdTime'
    if (!test || !(size >= 1 && size <= PAGE_MOST) || !['createdTime', 'name'].includes(order))
      return driveError(400, 'invalid', 'Invalid Value')
    const all = [...state.files.values()]
      .filter((file) => file.id !== ROOT && isSeen(file, request) && state.isFound(file))
      .filter((file) => test({ ...file, trashed: state.isTrashed(file) }))
      .toSorted((a, b) => (a[order as 'name'] < b[order as 'name'] ? -1 : 1))
    const [, from = '0'] =
      /^page-(\d+)$/.exec(query.get('pageToken') ?? 'page-0') ?? driveError(400, 'invalid', 'Invalid Value')
    const files = all.slice(Number(from), Number(from) + size).map((file) => state.resource(file))
    const next = Number(from) + size
    const page = { kind: 'drive#fileList', files, ...(next < all.length && { nextPageToken: `page-${next}` }) }
    const mask = fieldsIn(request) ?? { kind: true, nextPageToken: true, files: DEFAULT_FILE }
    return jsonReply(200, selected(page, mask, ['kind', 'files', 'nextPageToken', 'incompleteSearch', ...FILE_FIELDS]))
  }

  function download(request: ServerRequest): Reply {
    const file = fileOf(request)
    if (!file.content)
      return driveError(403, 'fileNotDownloadable', 'Only files with binary content can be downloaded.')
    if (file.isAbusive && request.url.searchParams.get('acknowledgeAbuse') !== 'true')
      return driveError(403, 'cannotDownloadAbusiveFile', 'This file has been identified as malware or spam.')
    if (file.isCapped)
      return driveError(403, 'downloadQuotaExceeded', 'The download quota for this file has been exceeded.')
    const reply = rangeReply(file.content, request.headers['range'])
    if (reply) return { ...reply, headers: { 'content-type': file.mimeType, ...reply.headers } }
    return driveError(416, 'requestedRangeNotSatisfiable', 'Request range not satisfiable')
  }

  function update(request: ServerRequest): Reply {
    const file = fileOf(request)
    const query = request.url.searchParams
    const change = JSON.parse(request.body.toString()) as { name?: string; trashed?: boolean; parents?: unknown }
    if (change.parents !== undefined)
      return driveError(403, 'fieldNotWritable', 'The parents field is not directly writable in update requests.')
    const added = query.get('addParents')
    const removed = query.get('removeParents')?.split(',') ?? []
    if (added && !state.files.has(added)) return driveError(404, 'notFound', `File not found: ${added}.`)
    if (added) file.parents = [...file.parents.filter((id) => !removed.includes(id)), added]
    if (change.name !== undefined) file.name = change.name
    if (change.trashed !== undefined) file.trashed = change.trashed
    return resource(file, request)
  }

  function generate({ url }: ServerRequest): Reply {
    const count = Number(url.searchParams.get('count') ?? 10)
    if (!(count >= 1 && count <= 1000)) return driveError(400, 'invalid', 'Invalid Value')
    const ids = Array.from({ length: count }, () => state.newId())
    return jsonReply(200, { kind: 'drive#generatedIds', space: 'drive', ids })
  }

  function route({ method, url: { pathname, searchParams } }: ServerRequest): Handler {
    if (method === 'GET' && pathname === '/drive/v3/about') return about
    if (method === 'GET' && pathname === '/drive/v3/files') return list
    if (method === 'GET' && pathname === '/drive/v3/files/generateIds') return generate
    if (method === 'POST' && pathname === '/drive/v3/files')
      return (request) => resource(state.create(parseNewFile(request, state)), request)
    if (!/^\/drive\/v3\/files\/[^/]+$/.test(pathname)) return () => driveError(404, 'notFound', 'Not Found')
    if (method === 'GET' && searchParams.get('alt') === 'media') return download
    if (method === 'GET') return (request) => resource(fileOf(request), request)
    if (method === 'PATCH') return update
    if (method !== 'DELETE') return () => driveError(405, 'httpMethodNotAllowed', 'Method Not Allowed')
    return (request) => {
      state.remove(fileOf(request).id)
      return { status: 204 }
    }
  }
  return Object.assign(route, { newFile: (request: ServerRequest) => parseNewFile(request, state) })
}

interface Metadata {
  readonly id?: string
  readonly name?: string
  readonly mimeType?: string
  readonly parents?: readonly string[]
  readonly appProperties?: Readonly<Record<string, string>>
}

/** Most bytes of a key and its value of `appProperties` together. */
const PROPERTY_BYTES = 124

function parseNewFile({ headers, body }: ServerRequest, state: DriveState): Metadata {
  if (!headers['content-type']?.startsWith('application/json'))
    return driveError(400, 'badContent', 'Unsupported content.')
  const meta = JSON.parse(body.toString()) as Metadata
  const parents = meta.parents?.map((id) => (id === 'root' ? ROOT : id))
  for (const id of parents ?? []) {
    if (state.files.get(id)?.mimeType !== FOLDER) return driveError(404, 'notFound', `File not found: ${id}.`)
  }
  if ((parents?.length ?? 1) !== 1) return driveError(400, 'invalid', 'A file has one parent.')
  for (const [key, value] of Object.entries(meta.appProperties ?? {})) {
    if (Buffer.byteLength(key + value) > PROPERTY_BYTES) return driveError(400, 'invalid', 'A property is too long.')
  }
  if (meta.id !== undefined && !state.isGiven(meta.id))
    return driveError(400, 'invalid', 'The provided file ID is not usable.')
  if (meta.id !== undefined && state.files.has(meta.id))
    return driveError(409, 'fileIdInUse', 'A file already exists with the provided ID.')
  return { ...meta, ...(parents && { parents }) }
}
