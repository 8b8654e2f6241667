/**
 * Drive's API v3 as the driver uses it: the SDK for metadata, with its own retries off and our `fetch` in it; raw HTTP for
 * ranges and for resumable sessions, which the SDK lacks. Files are addressed by id: names are not unique, and a search by
 * name lags behind writes.
 */
import { drive_v3 } from 'googleapis/build/src/apis/drive/v3.js'
import { Problem } from '../../protocol/problem.ts'
import { passing, unlessNotFound } from './faults.ts'
import { IDLE_MS, readRange, type ProviderCalls } from './provider-call.ts'
import { rangeHeader } from './ranges.ts'
import type { ByteRange, Quota } from './storage.ts'

/** Folders, shortcuts, and what Google's editors made, whose size Drive tells though none of its bytes can be downloaded. */
const NO_BLOB = 'application/vnd.google-apps.'
export const FOLDER = `${NO_BLOB}folder`
const BLOB = 'application/octet-stream'
const FIELDS = 'id,name,mimeType,parents,trashed,size,md5Checksum,headRevisionId,createdTime,modifiedTime'
const PAGE = 1000
/** Units of the allowance (1,000,000 a minute and project, 325,000 a user, since May 2026). */
const UNITS = { get: 5, list: 100, update: 50, download: 200 } as const
/** Of Google's ids, those asked for at one time. */
const IDS = 10

export interface DriveFile {
  readonly id: string
  readonly name: string
  readonly mimeType: string
  readonly parents: readonly string[]
  readonly trashed: boolean
  /** Missing for what has no bytes: folders, Google's own documents. */
  readonly size?: number
  /** Another with each change of the content, and with nothing else. */
  readonly version: string
  readonly modifiedMs: number
}

export interface NewDriveFile {
  readonly id: string
  readonly name: string
  readonly parent: string
  readonly properties?: Readonly<Record<string, string>>
}

export interface Move {
  readonly name: string
  readonly from: string
  readonly to: string
}

/** `gone`: the session has ended, or never was. */
export type SessionState =
  | { readonly kind: 'open'; readonly received: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'gone' }

export interface DriveApi {
  /** @throws Problem `not-found` */
  get(id: string): Promise<DriveFile>
  /** One page. @param query in Drive's own words */
  search(query: string, pageToken?: string): Promise<{ files: readonly DriveFile[]; next?: string }>
  newId(): Promise<string>
  /** Without content; repeatable, since the id is known before. */
  create(file: NewDriveFile, mimeType?: string): Promise<DriveFile>
  /** Out of the trash, too. */
  move(id: string, move: Move): Promise<DriveFile>
  /** Repeatable. */
  remove(id: string): Promise<void>
  quota(): Promise<Quota>
  /** Opaque, and the same for every client. */
  account(): Promise<string>
  download(id: string, range: ByteRange, into: Uint8Array): Promise<void>
  /** @returns the session's address, without the host */
  openSession(file: NewDriveFile, size: number): Promise<string>
  askSession(session: string, size: number): Promise<SessionState>
  /** Bytes from where the session stands, up to `end`; asks first where it stands unless `received` is known. */
  sendChunk(session: string, chunk: Chunk): Promise<SessionState>
  /** Repeatable. */
  cancelSession(session: string): Promise<void>
}

export interface Chunk {
  /** Of the file. */
  readonly size: number
  readonly offset: number
  readonly bytes: Uint8Array
  readonly received: number | undefined
}

/** @param root of the API, without a trailing slash */
export function createDriveApi(root: string, { send, paced }: ProviderCalls): DriveApi {
  const { files, about } = new drive_v3.Drive({})
  const options = (signal: AbortSignal) => ({
    rootUrl: `${root}/`,
    retry: false,
    fetchImplementation: send as typeof fetch,
    signal,
  })
  const ids: string[] = []

  async function newId(): Promise<string> {
    const known = ids.pop()
    if (known !== undefined) return known
    const { data } = await paced((signal) => files.generateIds({ count: IDS }, options(signal)), { units: UNITS.get })
    ids.push(...(data.ids ?? []))
    return ids.pop() ?? malformed()
  }

  const get = async (id: string): Promise<DriveFile> =>
    fileFrom(
      (await paced((signal) => files.get({ fileId: id, fields: FIELDS }, options(signal)), { units: UNITS.get })).data,
    )

  /** Refused, too, when the reply to an earlier try was lost. */
  async function create({ id, name, parent, properties }: NewDriveFile, mimeType: string = BLOB): Promise<DriveFile> {
    const requestBody = {
      id,
      name,
      mimeType,
      parents: [parent],
      ...(properties && { appProperties: { ...properties } }),
    }
    const call = (signal: AbortSignal) => files.create({ requestBody, fields: FIELDS }, options(signal))
    try {
      return fileFrom((await paced(call, { units: UNITS.update })).data)
    } catch (error) {
      return await get(id).catch(() => {
        throw error
      })
    }
  }

  async function openSession({ id, name, parent, properties }: NewDriveFile, size: number): Promise<string> {
    const metadata = { id, name, mimeType: BLOB, parents: [parent], appProperties: properties }
    const url = `${root}/upload/drive/v3/files?uploadType=resumable&fields=id`
    const headers = {
      'content-type': 'application/json',
      'x-upload-content-type': BLOB,
      'x-upload-content-length': String(size),
    }
    const response = await paced(
      async (signal) => {
        const reply = await send(url, { method: 'POST', headers, body: JSON.stringify(metadata), signal })
        await reply.body?.cancel()
        return reply
      },
      { units: UNITS.update },
    )
    const location = response.headers.get('location')
    if (!location || !URL.canParse(location, root)) return malformed()
    const { pathname, search } = new URL(location, root)
    return pathname + search
  }

  async function putSession(
    session: string,
    range: string,
    body: Uint8Array | null,
    signal: AbortSignal,
  ): Promise<SessionState> {
    const headers = { 'content-range': range, 'content-type': BLOB }
    try {
      const reply = await send(root + session, { method: 'PUT', headers, body: body as BodyInit | null, signal })
      await reply.body?.cancel()
      return reply.status === 308 ? { kind: 'open', received: receivedIn(reply.headers) } : { kind: 'done' }
    } catch (error) {
      if (error instanceof Problem && error.code === 'not-found') return { kind: 'gone' }
      throw error
    }
  }

  const ask = (session: string, size: number, signal: AbortSignal): Promise<SessionState> =>
    putSession(session, `bytes */${size}`, null, signal)

  /** A try that failed leaves it unknown where the session stands. */
  function sendChunk(session: string, { size, offset, bytes, received }: Chunk): Promise<SessionState> {
    let known = received
    const end = offset + bytes.length
    return paced(
      async (signal) => {
        const state: SessionState =
          known === undefined ? await ask(session, size, signal) : { kind: 'open', received: known }
        known = undefined
        if (state.kind !== 'open' || state.received >= end || state.received < offset) return state
        const rest = bytes.subarray(state.received - offset)
        return putSession(session, `bytes ${state.received}-${end - 1}/${size}`, rest, signal).catch(otherInstance)
      },
      { timeoutMs: IDLE_MS },
    )
  }

  return {
    get,
    newId,
    create,
    async search(query, pageToken) {
      const params = { q: query, pageSize: PAGE, orderBy: 'createdTime', fields: `nextPageToken,files(${FIELDS})` }
      const { data } = await paced(
        (signal) => files.list({ ...params, ...(pageToken !== undefined && { pageToken }) }, options(signal)),
        { units: UNITS.list },
      )
      const next = data.nextPageToken ?? undefined
      return { files: (data.files ?? []).map(fileFrom), ...(next !== undefined && { next }) }
    },
    async move(id, { name, from, to }) {
      const params = {
        fileId: id,
        requestBody: { name, trashed: false },
        addParents: to,
        removeParents: from,
        fields: FIELDS,
      }
      return fileFrom((await paced((signal) => files.update(params, options(signal)), { units: UNITS.update })).data)
    },
    remove: (id) =>
      paced(async (signal) => void (await files.delete({ fileId: id }, options(signal))), {
        units: UNITS.update,
      }).catch(unlessNotFound),
    async quota() {
      const { data } = await paced((signal) => about.get({ fields: 'storageQuota(limit,usage)' }, options(signal)), {
        units: UNITS.get,
      })
      const { limit, usage } = data.storageQuota ?? {}
      return { ...(limit && { total: Number(limit) }), ...(usage && { used: Number(usage) }) }
    },
    async account() {
      const { data } = await paced((signal) => about.get({ fields: 'user(permissionId)' }, options(signal)), {
        units: UNITS.get,
      })
      return data.user?.permissionId ?? malformed()
    },
    download: (id, range, into) =>
      paced(
        async (signal) => {
          const headers = { range: rangeHeader(range) }
          const url = `${root}/drive/v3/files/${encodeURIComponent(id)}?alt=media`
          await readRange('Drive', await send(url, { headers, signal }), range, into, signal)
        },
        { units: UNITS.download, timeoutMs: IDLE_MS },
      ),
    openSession,
    askSession: (session, size) => paced((signal) => ask(session, size, signal)),
    sendChunk,
    cancelSession: (session) =>
      paced(async (signal) => {
        const reply = await send(root + session, { method: 'DELETE', signal })
        await reply.body?.cancel()
      }).catch(unlessNotFound),
  }
}

/** Statuses that are answers of sessions: they go on (308), they were cancelled (499). */
export const SESSION_STATUSES = [308, 499]

function fileFrom({
  id,
  name,
  mimeType,
  parents,
  trashed,
  size,
  modifiedTime,
  ...rest
}: drive_v3.Schema$File): DriveFile {
  if (!id || !mimeType) return malformed()
  return {
    id,
    name: name ?? '',
    mimeType,
    parents: parents ?? [],
    trashed: trashed ?? false,
    version: rest.headRevisionId ?? rest.md5Checksum ?? '',
    modifiedMs: Date.parse(modifiedTime ?? '') || 0,
    ...(size && !mimeType.startsWith(NO_BLOB) && { size: Number(size) }),
  }
}

/** `bytes=0-41` says 42; nothing is said where nothing came. */
function receivedIn(headers: Headers): number {
  const range = headers.get('range')
  if (range === null) return 0
  const [, last] = /^bytes=0-(\d+)$/.exec(range) ?? []
  return last === undefined ? malformed() : Number(last) + 1
}

function malformed(): never {
  throw passing('Drive answered with what makes no sense.')
}

/** Where the session stood, another instance has gone on meanwhile. */
function otherInstance(error: unknown): never {
  const refused =
    error instanceof Problem && error.code === 'storage-unavailable' && error.members['retryAfterMs'] === undefined
  throw refused ? passing('Drive has other bytes of the upload by now.') : error
}
