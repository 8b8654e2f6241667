/**
 * A small Dropbox over HTTP (API v2, and its OAuth 2), for an app with an app folder, as strict as the provider and with
 * faults by script. It stands for a provider that a test cannot reach.
 */
import type { Step } from '../conformance/storage-world.ts'
import { badInput, errorReply, refusalReply, routeError } from './dropbox-errors.ts'
import { createDropboxSessions, type Cursor } from './dropbox-sessions.ts'
import { contentHash, createDropboxState, type DropboxEntry, type DropboxState } from './dropbox-state.ts'
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

export const DROPBOX_CLIENT = {
  id: 'dropbox-app-key',
  redirects: ['http://127.0.0.1:*/', 'http://127.0.0.1:*/v1/oauth/callback'],
}
const SCOPES = ['account_info.read', 'files.content.read', 'files.content.write', 'files.metadata.read']
export const DROPBOX_SCOPE = SCOPES.join(' ')

/** Of all accounts: a reference is good for another account too. */
export type CopyReferences = Map<string, Content>

export interface DropboxServer extends ProviderServer {
  readonly state: DropboxState
  /** Cursors are good for nothing any more. */
  reset(): void
  readonly oauth: OAuthServer
}

export interface DropboxOptions {
  readonly now?: () => number
  readonly references?: CopyReferences
  readonly keep?: Keep
}

/** Arguments as they come in: JSON of a client. */
type Arg = Readonly<Record<string, unknown>> & {
  readonly path?: string
  readonly cursor?: Cursor | string
  readonly commit?: Commit
}

interface Commit {
  readonly path?: string
  readonly mode?: unknown
  readonly autorename?: boolean
  readonly strict_conflict?: boolean
}

interface Route {
  readonly style: 'rpc' | 'upload' | 'download'
  readonly scope: string
  readonly step: Step
  run(arg: Arg, request: ServerRequest): Reply
}

const PAGE_MOST = 2000

export async function startDropbox(options: DropboxOptions = {}): Promise<DropboxServer> {
  const { now = () => Date.now(), references = new Map(), keep = bytesContent } = options
  const state = createDropboxState(now)
  const oauth = createOAuth({
    client: DROPBOX_CLIENT,
    demands: { token_access_type: 'offline' },
    scopes: SCOPES,
    prefix: 'sl.',
  })
  const cursors = new Map<string, DropboxEntry[]>()
  const routes = { ...readRoutes(state, cursors), ...writeRoutes(state, references, keep) }
  const routeOf = ({ url: { pathname } }: ServerRequest): Route | undefined => routes[pathname.replace(/^\/2\//, '')]

  const provider: Provider = {
    stepOf: (request) => (request.url.pathname === '/oauth2/token' ? 'token' : (routeOf(request)?.step ?? 'stat')),
    answer(request) {
      const { pathname } = request.url
      if (pathname === '/oauth2/authorize') return oauth.authorize(request)
      if (pathname === '/oauth2/token') return oauth.token(request)
      const granted = oauth.scopeOf(request)
      if (granted === undefined) return errorReply(401, ['expired_access_token'])
      if (request.method !== 'POST') return badInput('POST alone')
      if (pathname === '/2/auth/token/revoke') {
        oauth.revoke(request.headers['authorization']?.slice('Bearer '.length) ?? '')
        return jsonReply(200, null)
      }
      const route = routeOf(request)
      if (!route) return badInput(`unknown function ${pathname}`)
      if (!granted.split(' ').includes(route.scope))
        return errorReply(401, ['missing_scope'], { required_scope: route.scope })
      return route.run(argOf(route, request), request)
    },
    refuse(request, refusal) {
      if (refusal.why === 'token-expired') oauth.expire(request)
      return refusalReply(request, refusal)
    },
  }
  const server = await startProvider(provider)
  return { ...server, state, oauth, reset: () => cursors.clear() }
}

function argOf({ style }: Route, { headers, body }: ServerRequest): Arg {
  const type = headers['content-type'] ?? ''
  try {
    if (style === 'rpc') {
      if (body.length === 0) return {}
      if (!type.startsWith('application/json')) return badInput(`bad HTTP "Content-Type" header: "${type}"`)
      return (JSON.parse(body.toString()) ?? {}) as Arg
    }
    if (style === 'upload' && type !== 'application/octet-stream') return badInput('expecting application/octet-stream')
    if (style === 'download' && body.length > 0) return badInput('a download has no body')
    const header = headers['dropbox-api-arg'] ?? ''
    return /^[\x20-\x7e]+$/.test(header) ? (JSON.parse(header) as Arg) : badInput('HTTP header "Dropbox-API-Arg"')
  } catch (error) {
    if (error instanceof SyntaxError) return badInput('could not decode input as JSON')
    throw error
  }
}

/** Characters, not bytes, of one name. */
const NAME_MOST = 255

function checkPath(path: unknown): string {
  if (typeof path !== 'string') return badInput('path: expected string')
  if (/^id:|^rev:/.test(path)) return path
  if (!/^\/[^]*[^/]$/.test(path)) return badInput(`path: '${path}' did not match pattern`)
  const names = path.slice(1).split('/')
  const isMalformed = (name: string): boolean => name === '' || name.length > NAME_MOST || name.endsWith(' ')
  return names.some(isMalformed) ? routeError('path', 'malformed_path') : path
}

/** Of Dropbox's help, "Why aren't certain files syncing?", and one that its API was seen to refuse: the cache. */
const DISALLOWED = ['desktop.ini', 'thumbs.db', '.ds_store', 'icon\r', '.dropbox', '.dropbox.attr', '.dropbox.cache']

/** Of what is written alone: looked up, such a name is not there. */
function checkNewPath(path: unknown, { refuses }: DropboxState): string {
  const at = checkPath(path)
  const names = at.toLowerCase().slice(1).split('/')
  if (refuses?.test(at)) return routeError('path', 'malformed_path')
  return names.some((name) => DISALLOWED.includes(name)) ? routeError('path', 'disallowed_name') : at
}

function readRoutes(state: DropboxState, cursors: Map<string, DropboxEntry[]>): Readonly<Record<string, Route>> {
  function find(path: unknown): DropboxEntry {
    const at = checkPath(path)
    const entry = at.startsWith('rev:') ? state.byRev(at.slice('rev:'.length)) : state.get(at)
    return entry ?? routeError('path', 'not_found')
  }

  function page(left: DropboxEntry[], limit: number): Reply {
    const cursor = `cursor-${cursors.size + 1}-${limit}`
    cursors.set(cursor, left.slice(limit))
    const entries = left.slice(0, limit).map((entry) => state.metadata(entry))
    return jsonReply(200, { entries, cursor, has_more: left.length > limit })
  }

  function list({ path, recursive = false, limit = PAGE_MOST }: Arg): Reply {
    if (typeof limit !== 'number' || limit < 1 || limit > PAGE_MOST) return badInput('limit')
    const root = path === '' ? undefined : find(path)
    if (root?.content) return routeError('path', 'not_folder')
    const prefix = `${root?.display ?? ''}/`.toLowerCase()
    const inside = [...state.entries]
      .filter(([key]) => key.startsWith(prefix) && (recursive === true || !key.slice(prefix.length).includes('/')))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, entry]) => entry)
    return page(root && recursive === true ? [root, ...inside] : inside, limit)
  }

  function goOn({ cursor }: Arg): Reply {
    const left = cursors.get(cursor as string)
    return left ? page(left, Number(/\d+$/.exec(cursor as string)?.[0])) : routeError('reset')
  }

  function download({ path }: Arg, { headers }: ServerRequest): Reply {
    const entry = find(path)
    if (!entry.content) return routeError('path', 'not_file')
    if (entry.isDocument) return routeError('unsupported_file')
    const meta = JSON.stringify(state.metadata(entry))
    const result = meta.replaceAll(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    const reply = rangeReply(entry.content, headers['range'])
    if (!reply) return { status: 416, headers: { 'content-type': 'text/plain' } }
    return {
      ...reply,
      headers: { 'content-type': 'application/octet-stream', ...reply.headers, 'dropbox-api-result': result },
    }
  }

  return {
    'files/get_metadata': {
      style: 'rpc',
      scope: 'files.metadata.read',
      step: 'stat',
      run: ({ path }) => jsonReply(200, state.metadata(find(path))),
    },
    'files/list_folder': { style: 'rpc', scope: 'files.metadata.read', step: 'list', run: list },
    'files/list_folder/continue': { style: 'rpc', scope: 'files.metadata.read', step: 'list', run: goOn },
    'files/download': { style: 'download', scope: 'files.content.read', step: 'read', run: download },
    'files/get_temporary_link': {
      style: 'rpc',
      scope: 'files.content.read',
      step: 'read',
      run: ({ path }) =>
        jsonReply(200, { metadata: state.metadata(find(path)), link: 'https://dl.example/whole-file' }),
    },
    'users/get_space_usage': {
      style: 'rpc',
      scope: 'account_info.read',
      step: 'stat',
      run: () => jsonReply(200, { used: state.used(), allocation: allocationOf(state) }),
    },
  }
}

function allocationOf(state: DropboxState): object {
  const { allocated, team } = state
  if (!team) return { '.tag': 'individual', allocated }
  return {
    '.tag': 'team',
    used: team.used,
    allocated: team.allocated,
    user_within_team_space_allocated: team.memberMost,
    user_within_team_space_limit_type: { '.tag': team.limit },
    user_within_team_space_used_cached: state.used(),
  }
}

function writeRoutes(state: DropboxState, references: CopyReferences, keep: Keep): Readonly<Record<string, Route>> {
  const sessions = createDropboxSessions(keep)
  const scope = 'files.content.write'

  /** Mode `add`: what is there is never replaced; the very same content is no conflict unless that is asked for. */
  function save(
    { path, mode, autorename = false, strict_conflict: strict = false }: Commit,
    content: Content,
  ): DropboxEntry {
    const at = checkNewPath(path, state)
    const tag = typeof mode === 'string' ? mode : ((mode as { '.tag'?: string } | undefined)?.['.tag'] ?? 'add')
    if (autorename || !['add', 'overwrite'].includes(tag))
      return badInput('this server knows plain add and overwrite alone')
    const there = state.get(at)
    if (state.fileAbove(at)) return routeError('path', 'conflict', 'file_ancestor')
    if (there && !there.content) return routeError('path', 'conflict', 'folder')
    if (there?.content && tag === 'add') {
      if (!strict && contentHash(there.content) === contentHash(content)) return there
      return routeError('path', 'conflict', 'file')
    }
    if (state.used() + content.size > state.allocated) return routeError('path', 'insufficient_space')
    return state.write(at, content)
  }

  function upload(arg: Arg, { body }: ServerRequest): Reply {
    const content = bytesContent(body)
    const { content_hash: hash } = arg
    if (hash !== undefined && hash !== contentHash(content)) return routeError('content_hash_mismatch')
    return jsonReply(200, state.metadata(save(arg, keep(body))))
  }

  function finish({ cursor, commit = {} }: Arg, { body }: ServerRequest): Reply {
    const { content, done } = sessions.finish(cursor as Cursor, body)
    const entry = save(commit, content)
    done()
    return jsonReply(200, state.metadata(entry))
  }

  function remove({ path, parent_rev: rev }: Arg): Reply {
    const entry = state.get(checkPath(path)) ?? routeError('path_lookup', 'not_found')
    if (rev !== undefined && rev !== entry.rev) return routeError('path_write', 'conflict', 'file')
    state.remove(entry.display)
    return jsonReply(200, { metadata: state.metadata(entry) })
  }

  function refer({ path }: Arg): Reply {
    const entry = state.get(checkPath(path)) ?? routeError('path', 'not_found')
    if (!entry.content) return badInput('a folder')
    const reference = `AAAA${Buffer.from(entry.id + entry.rev).toString('base64url')}`
    references.set(reference, entry.content)
    return jsonReply(200, {
      metadata: state.metadata(entry),
      copy_reference: reference,
      expires: '2099-01-01T00:00:00Z',
    })
  }

  function saveReference({ copy_reference: reference, path }: Arg): Reply {
    const content = references.get(String(reference)) ?? routeError('invalid_copy_reference')
    return jsonReply(200, { metadata: state.metadata(save({ path: path ?? '', strict_conflict: true }, content)) })
  }

  return {
    'files/upload': { style: 'upload', scope, step: 'put', run: upload },
    'files/upload_session/start': {
      style: 'upload',
      scope,
      step: 'begin',
      run: (arg, { body }) => jsonReply(200, sessions.start(arg as Parameters<typeof sessions.start>[0], body)),
    },
    'files/upload_session/append_v2': {
      style: 'upload',
      scope,
      step: 'put',
      run: (arg, { body }) =>
        jsonReply(200, sessions.append(arg as Parameters<typeof sessions.append>[0], body) ?? null),
    },
    'files/upload_session/finish': { style: 'upload', scope, step: 'commit', run: finish },
    'files/delete_v2': { style: 'rpc', scope, step: 'abort', run: remove },
    'files/copy_reference/get': { style: 'rpc', scope, step: 'stat', run: refer },
    'files/copy_reference/save': { style: 'rpc', scope, step: 'commit', run: saveReference },
  }
}
