/**
 * A Dropbox app's folder, or a folder in it, as a storage. A version is the revision. Paths ignore case: a name that differs
 * from another in its case alone is the same name.
 */
import { Problem } from '../../protocol/problem.ts'
import { createDropboxApi, type DropboxApi, type DropboxFile, type DropboxPage } from './dropbox-api.ts'
import { dropboxProblem, isTagged } from './dropbox-errors.ts'
import { goodPath } from './dropbox-names.ts'
import { createDropboxPaths, type DropboxPaths } from './dropbox-paths.ts'
import { createDropboxWrites, PART_BYTES } from './dropbox-writes.ts'
import { unlessNotFound } from './faults.ts'
import { freeName, PARTIAL_FOLDER, parsePath } from './names.ts'
import { createAccess } from './oauth.ts'
import { dropboxOAuth } from './oauth-providers.ts'
import type { DriverContext, DropboxSettings } from './open.ts'
import { createPacer } from './pacer.ts'
import { createProviderCalls } from './provider-call.ts'
import { bufferFor, checkSize, outOfRange } from './ranges.ts'
import { changed, checkParents, checkRoom, type Kind } from './refusals.ts'
import type { FileEntry, FilePage, FileRef, ListQuery, Storage } from './storage.ts'

const PROVIDER = 'dropbox'
/** 2^41 - 2^22. */
const SIZE_MOST = 2_199_019_061_248

/** Asks nothing yet. */
export async function openDropbox({ appKey, folder }: DropboxSettings, context: DriverContext): Promise<Storage> {
  const { environment, store, hosts, link = '', secret, renewSecret } = context
  const pacer = createPacer(context, { account: `dropbox/${appKey}` })
  const access = createAccess({ environment, provider: dropboxOAuth(hosts), clientId: appKey, secret, renewSecret })
  const calls = createProviderCalls({ environment, name: 'Dropbox', access, pacer, problemIn: dropboxProblem })
  const api = createDropboxApi(hosts, calls)
  const paths = createDropboxPaths(folder === undefined ? [] : goodPath(parsePath(folder)))
  const writes = createDropboxWrites({ api, paths, store, random: environment.random, pk: `dropbox/${link}` })
  return {
    writes: 'any-order',
    partBytes: PART_BYTES,
    wholeParts: true,
    list: (query) => list(api, paths, query),
    async stat(file) {
      const { size, rev, modifiedMs } = await fileAt(api, paths, file)
      return { size, version: rev, modifiedMs }
    },
    read: (file, range, into) => read(api, paths, file, range, into),
    async begin(name, size, pieceLength = PART_BYTES) {
      const path = goodPath(parsePath(name.normalize('NFC')))
      checkSize(size)
      if (size > SIZE_MOST) throw new Problem('too-large', 'Dropbox takes files of 2 TiB at most.')
      checkRoom('Dropbox', size, await api.quota())
      await checkParents(path, (parent) => kindOf(api, paths.pathOf(parent.join('/'))))
      return writes.begin(path, size, pieceLength)
    },
    put: (write, offset, part) => writes.put(write, offset, part),
    written: (write) => writes.written(write),
    commit: (write) => writes.commit(write),
    abort: (write) => writes.abort(write),
    remove: (file) => remove(api, paths, file),
    async freeFolder(name, taken = () => false) {
      const isTaken = async (candidate: string): Promise<boolean> =>
        taken(candidate) || (await there(api, paths.pathOf(candidate))) !== undefined
      return freeName(goodPath(parsePath(name)).join('/'), isTaken)
    },
    async lend(file) {
      const { path, rev, contentHash } = await fileAt(api, paths, file)
      if (rev !== file.version) throw changed()
      return { provider: PROVIDER, reference: await api.copyReference(path), contentHash }
    },
    async copyWhole(write, loan) {
      if (loan.provider !== PROVIDER) throw new Problem('storage-denied', 'The file lies with another provider.')
      await writes.copyWhole(write, loan)
    },
    quota: () => api.quota(),
    close: async () => pacer.close(),
  }
}

const there = (api: DropboxApi, path: string): Promise<DropboxFile | 'folder' | 'document' | undefined> =>
  api.get(path).catch(unlessNotFound)

async function fileAt(api: DropboxApi, paths: DropboxPaths, { name }: FileRef): Promise<DropboxFile> {
  const found = await api.get(paths.pathOf(name))
  if (typeof found === 'object') return found
  throw new Problem('not-found', `${JSON.stringify(name)} is a ${found}.`)
}

/** The reply says which revision its bytes are of: one request, and nothing can change in between. */
async function read(
  api: DropboxApi,
  paths: DropboxPaths,
  file: FileRef,
  range: { offset: number; length: number },
  into?: Uint8Array,
) {
  const path = paths.pathOf(file.name)
  const buffer = bufferFor(range, into)
  const version = range.length > 0 ? await api.download(path, range, buffer).catch(unlessBeyond) : undefined
  if (version === undefined) {
    const { size, rev } = await fileAt(api, paths, file)
    if (file.version !== undefined && rev !== file.version) throw changed()
    if (range.length > 0 || range.offset > size) outOfRange()
  } else if (file.version !== undefined && version !== file.version) throw changed()
  return buffer
}

/** What is beyond the end may be another version than the one that is meant. */
function unlessBeyond(error: unknown): undefined {
  if (!(error instanceof Problem && error.code === 'range-invalid')) throw error
  return undefined
}

async function list(api: DropboxApi, paths: DropboxPaths, { under, cursor }: ListQuery = {}): Promise<FilePage> {
  const path = under === undefined ? paths.root : paths.pathOf(under)
  const page = await pageOf(api, path, cursor)
  const named = page.files.map((file) => ({ file, name: paths.nameOf(file.path) }))
  const visible = named.filter(({ name }) => !name.startsWith(`${PARTIAL_FOLDER}/`))
  const bad = visible.filter((one) => !isGood(one))
  return {
    files: visible.filter(isGood).map(({ file, name }) => entryOf(name, file)),
    refused: [
      ...bad.map(({ name }) => ({ name, problem: 'path-outside' as const })),
      ...page.documents.map((one) => ({ name: paths.nameOf(one), problem: 'not-found' as const })),
    ],
    ...(page.cursor !== undefined && { cursor: page.cursor }),
    ...(page.isAnew && { isAnew: true }),
  }
}

/** Dropbox may forget a cursor at any time. */
async function pageOf(
  api: DropboxApi,
  path: string,
  cursor: string | undefined,
): Promise<DropboxPage & { isAnew?: boolean }> {
  try {
    return await (cursor === undefined ? api.list(path) : api.listOn(cursor))
  } catch (error) {
    if (isTagged(error, 'reset')) return { ...(await pageOf(api, path, undefined)), isAnew: true }
    unlessNotFound(error)
    return { files: [], documents: [] }
  }
}

const entryOf = (name: string, { size, rev, modifiedMs }: DropboxFile): FileEntry => ({
  name,
  size,
  version: rev,
  modifiedMs,
})

function isGood({ name }: { readonly name: string }): boolean {
  try {
    return parsePath(name).length > 0
  } catch {
    return false
  }
}

async function remove(api: DropboxApi, paths: DropboxPaths, { name, version }: FileRef): Promise<void> {
  const path = paths.pathOf(name)
  const found = await there(api, path)
  if (typeof found !== 'object') return
  if (version !== undefined && found.rev !== version) throw changed()
  await api.remove(path, found.rev).catch((error: unknown) => {
    if (isTagged(error, 'conflict')) throw changed()
    unlessNotFound(error)
  })
}

async function kindOf(api: DropboxApi, path: string): Promise<Kind> {
  const found = await there(api, path)
  return found && (found === 'folder' ? 'folder' : 'file')
}
