/**
 * Dropbox's API v2 as the driver uses it: the SDK, whose hosts are fixed, with ours put in by the `fetch` that it is given;
 * raw HTTP for ranges, which the SDK would gather in a buffer of its own.
 */
import { Dropbox, type files, type users } from 'dropbox'
import { passing } from './faults.ts'
import { IDLE_MS, readRange, SLOW_MS, type ProviderCalls } from './provider-call.ts'
import { rangeHeader } from './ranges.ts'
import type { ProviderHosts } from './providers.ts'
import type { ByteRange, Quota } from './storage.ts'

export interface DropboxFile {
  /** As it is spelt, from the app folder on, with a slash before it. */
  readonly path: string
  /** Another with each change of the content. */
  readonly rev: string
  readonly size: number
  /** SHA-256 over those of blocks of 4 MiB, hex. */
  readonly contentHash: string
  readonly modifiedMs: number
}

export interface DropboxPage {
  readonly files: readonly DropboxFile[]
  /** Paths of what has no bytes. */
  readonly documents: readonly string[]
  readonly cursor?: string
}

/** Paths have a slash before them; the app folder itself is the empty one. */
export interface DropboxApi {
  /** @returns `document` for what Dropbox's own editors made @throws Problem `not-found` */
  get(path: string): Promise<DropboxFile | 'folder' | 'document'>
  /** Everything below. @throws Problem `not-found`, also for a file */
  list(path: string): Promise<DropboxPage>
  listOn(cursor: string): Promise<DropboxPage>
  /** Exactly the range, of whatever the path leads to. @returns its revision */
  download(path: string, range: ByteRange, into: Uint8Array): Promise<string>
  /** A whole small file. @param mode `add`: `conflict` where the name is taken */
  upload(path: string, bytes: Uint8Array, contentHash: string, mode: 'add' | 'overwrite'): Promise<DropboxFile>
  startSession(): Promise<string>
  append(session: string, part: SessionPart): Promise<void>
  /** @throws Problem `conflict` where the name is taken: the session goes on */
  finish(session: string, size: number, path: string): Promise<DropboxFile>
  /** @param rev removes that one alone; `conflict` for another. @throws Problem `not-found` */
  remove(path: string, rev?: string): Promise<void>
  /** Good for any account, for as long as Dropbox says: hours. */
  copyReference(path: string): Promise<string>
  /** @throws Problem `conflict` where the name is taken */
  saveReference(reference: string, path: string): Promise<DropboxFile>
  quota(): Promise<Quota>
}

export interface SessionPart {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly contentHash: string
  /** No bytes come after it. */
  readonly isLast: boolean
}

const PAGE = 1000

export function createDropboxApi(hosts: ProviderHosts, { send, paced }: ProviderCalls): DropboxApi {
  const sdk = new Dropbox({ fetch: (url: string, init: RequestInit) => send(replaceHost(url, hosts), init) })

  async function list(
    action: (signal: AbortSignal) => Promise<{ result: files.ListFolderResult }>,
  ): Promise<DropboxPage> {
    const { entries, cursor, has_more: more } = (await paced(action)).result
    const found = entries.flatMap((entry) => (entry['.tag'] === 'file' && entry.path_display ? [entry] : []))
    return {
      files: found.filter(isBlob).map(fileFrom),
      documents: found.filter((entry) => !isBlob(entry)).map(({ path_display: path = '' }) => path),
      ...(more && { cursor }),
    }
  }

  return {
    async get(path) {
      const { result } = await paced((signal) => sdk.filesGetMetadata({ path }, { signal }))
      if (result['.tag'] !== 'file') return 'folder'
      return isBlob(result) ? fileFrom(result) : 'document'
    },
    list: (path) => list((signal) => sdk.filesListFolder({ path, recursive: true, limit: PAGE }, { signal })),
    listOn: (cursor) => list((signal) => sdk.filesListFolderContinue({ cursor }, { signal })),
    download: (path, range, into) =>
      paced(
        async (signal) => {
          const headers = { 'dropbox-api-arg': headerJson({ path }), range: rangeHeader(range) }
          const response = await send(`${hosts.dropboxContent}/2/files/download`, { method: 'POST', headers, signal })
          const rev = revIn(response.headers)
          await readRange('Dropbox', response, range, into, signal)
          return rev
        },
        { timeoutMs: IDLE_MS },
      ),
    async upload(path, bytes, contentHash, mode) {
      const arg = {
        path,
        contents: bytes,
        content_hash: contentHash,
        mode: { '.tag': mode },
        mute: true,
        strict_conflict: true,
      }
      return fileFrom((await paced((signal) => sdk.filesUpload(arg, { signal }), { timeoutMs: IDLE_MS })).result)
    },
    async startSession() {
      const arg = { session_type: { '.tag': 'concurrent' } } as const
      return (await paced((signal) => sdk.filesUploadSessionStart(arg, { signal }))).result.session_id
    },
    async append(session, { offset, bytes, contentHash, isLast }) {
      const cursor = { session_id: session, offset }
      const arg = { cursor, contents: bytes, content_hash: contentHash, close: isLast }
      await paced((signal) => sdk.filesUploadSessionAppendV2(arg, { signal }), { timeoutMs: IDLE_MS })
    },
    async finish(session, size, path) {
      const commit = { path, mode: { '.tag': 'add' }, autorename: false, mute: true, strict_conflict: true } as const
      const arg = { cursor: { session_id: session, offset: size }, commit }
      return fileFrom(
        (await paced((signal) => sdk.filesUploadSessionFinish(arg, { signal }), { timeoutMs: SLOW_MS })).result,
      )
    },
    async remove(path, rev) {
      await paced((signal) => sdk.filesDeleteV2({ path, ...(rev !== undefined && { parent_rev: rev }) }, { signal }))
    },
    copyReference: async (path) =>
      (await paced((signal) => sdk.filesCopyReferenceGet({ path }, { signal }))).result.copy_reference,
    async saveReference(reference, path) {
      const arg = { copy_reference: reference, path }
      const { metadata } = (
        await paced((signal) => sdk.filesCopyReferenceSave(arg, { signal }), { timeoutMs: SLOW_MS })
      ).result
      return metadata['.tag'] === 'file' ? fileFrom(metadata) : malformed()
    },
    async quota() {
      return quotaFrom((await paced((signal) => sdk.usersGetSpaceUsage({ signal }))).result)
    },
  }
}

/** Of a team, its room and what all of it have used; the member's own where the team has set a limit that leaves less. */
function quotaFrom({ used, allocation }: users.SpaceUsage): Quota {
  if (allocation['.tag'] === 'other') return { used }
  if (allocation['.tag'] === 'individual') return { used, total: allocation.allocated }
  const team = { used: allocation.used, total: allocation.allocated }
  const total = allocation.user_within_team_space_allocated
  const isLimited = total > 0 && allocation.user_within_team_space_limit_type['.tag'] === 'stop_sync'
  return isLimited && total - used < team.total - team.used ? { used, total } : team
}

function replaceHost(url: string, { dropboxApi, dropboxContent }: ProviderHosts): string {
  const { hostname, pathname } = new URL(url)
  if (hostname === 'api.dropboxapi.com') return dropboxApi + pathname
  if (hostname === 'content.dropboxapi.com') return dropboxContent + pathname
  throw passing('The SDK of Dropbox asked for a host that it has no business with.')
}

/** Others are exported, never downloaded. */
const isBlob = ({ is_downloadable: isDownloadable = true }: files.FileMetadata): boolean => isDownloadable

function fileFrom({
  path_display: path,
  rev,
  size,
  content_hash: hash,
  server_modified: modified,
}: files.FileMetadata): DropboxFile {
  if (!path || hash === undefined) return malformed()
  return { path, rev, size, contentHash: hash, modifiedMs: Date.parse(modified) || 0 }
}

/** Which revision the bytes are of. */
function revIn(headers: Headers): string {
  try {
    const { rev } = JSON.parse(headers.get('dropbox-api-result') ?? '') as { rev?: unknown }
    if (typeof rev === 'string') return rev
  } catch {
    // Told below.
  }
  return malformed()
}

/** JSON that a header can carry (API v2, "Content-upload and content-download endpoints"). */
const headerJson = (value: unknown): string =>
  JSON.stringify(value).replaceAll(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)

function malformed(): never {
  throw passing('Dropbox answered with what makes no sense.')
}
