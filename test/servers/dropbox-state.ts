/** The files of one Dropbox, as its owner and other programs see them. Paths ignore case; each keeps its own spelling. */
import { createHash } from 'node:crypto'
import { sliceContent, type Content } from './s3-content.ts'

/** Of larger ones the end stands for all: the hash would take minutes. */
const HASHED_MOST = 16 * 2 ** 30
const BLOCK = 4 * 1024 * 1024

export interface DropboxEntry {
  readonly id: string
  readonly name: string
  /** As it was spelt, with a slash before it. */
  readonly display: string
  /** Missing for folders. */
  readonly content?: Content
  readonly rev: string
  readonly modified: string
  /** A document of Dropbox's own: exported, never downloaded. */
  readonly isDocument?: boolean
  /** It lies in a shared folder that is mounted nowhere, and has no path. */
  readonly isUnmounted?: boolean
}

/** TeamSpaceAllocation */
export interface DropboxTeam {
  /** By all members. */
  readonly used: number
  readonly allocated: number
  /** 0: none. */
  readonly memberMost: number
  readonly limit: 'off' | 'alert_only' | 'stop_sync'
}

export interface DropboxState {
  /** By path in lower case. */
  readonly entries: ReadonlyMap<string, DropboxEntry>
  /** Replaces what is there; makes the folders above. */
  write(path: string, content: Content): DropboxEntry
  makeFolder(path: string): void
  /** With all that lies in it. */
  remove(path: string): void
  get(path: string): DropboxEntry | undefined
  byRev(rev: string): DropboxEntry | undefined
  /** A file where a folder would have to be. */
  fileAbove(path: string): DropboxEntry | undefined
  used(): number
  /** The account's own, where it belongs to no team. */
  allocated: number
  team?: DropboxTeam
  /** Paths that cannot be written, beyond the rules that Dropbox tells. */
  refuses?: RegExp
  metadata(entry: DropboxEntry): Record<string, unknown>
}

export function contentHash(content: Content): string {
  const whole = createHash('sha256')
  for (let at = 0; at < content.size; at += BLOCK) {
    const block = content.read(at, Math.min(BLOCK, content.size - at))
    whole.update(createHash('sha256').update(block).digest())
  }
  return whole.digest('hex')
}

const parentsOf = (path: string): string[] => {
  const names = path.split('/').slice(1, -1)
  return names.map((_, i) => `/${names.slice(0, i + 1).join('/')}`)
}
const fold = (path: string): string => path.toLowerCase()

export function createDropboxState(now: () => number): DropboxState {
  const entries = new Map<string, DropboxEntry>()
  const revisions = new Map<string, DropboxEntry>()
  const hashes = new WeakMap<Content, string>()
  let serial = 0x1_0000_0000

  function put(path: string, content?: Content): DropboxEntry {
    const known = entries.get(fold(path))
    const parent = path.slice(0, path.lastIndexOf('/'))
    const name = path.slice(path.lastIndexOf('/') + 1)
    const display = `${entries.get(fold(parent))?.display ?? ''}/${name}`
    const rev = (++serial).toString(16).padStart(9, '0')
    const id = known?.id ?? `id:a${serial.toString(36).padStart(21, '0')}`
    const modified = new Date(now()).toISOString().replace(/\.\d+/, '')
    const entry = { id, name, display: known?.display ?? display, rev, modified, ...(content && { content }) }
    entries.set(fold(path), entry)
    revisions.set(rev, entry)
    return entry
  }

  function hashOf(content: Content): string {
    const { size } = content
    const known =
      hashes.get(content) ?? contentHash(size > HASHED_MOST ? sliceContent(content, size - BLOCK, BLOCK) : content)
    hashes.set(content, known)
    return known
  }

  return {
    entries,
    allocated: 2 * 2 ** 30,
    write(path, content) {
      this.makeFolder(path.slice(0, path.lastIndexOf('/')))
      return put(path, content)
    },
    makeFolder(path) {
      for (const folder of [...parentsOf(path), path]) if (folder !== '' && !entries.has(fold(folder))) put(folder)
    },
    remove(path) {
      for (const key of entries.keys()) if (key === fold(path) || key.startsWith(`${fold(path)}/`)) entries.delete(key)
    },
    get: (path) => (path.startsWith('id:') ? entries.values().find(({ id }) => id === path) : entries.get(fold(path))),
    byRev: (rev) => revisions.get(rev),
    fileAbove: (path) =>
      parentsOf(path)
        .map((folder) => entries.get(fold(folder)))
        .find((entry) => entry?.content),
    used: () => entries.values().reduce((sum, { content }) => sum + (content?.size ?? 0), 0),
    metadata({ id, name, display, content, rev, modified, isDocument = false, isUnmounted = false }) {
      const paths = isUnmounted ? [null, null] : [fold(display), display]
      const common = { name, path_lower: paths[0], path_display: paths[1], id }
      if (!content) return { '.tag': 'folder', ...common }
      return {
        '.tag': 'file',
        ...common,
        client_modified: modified,
        server_modified: modified,
        rev,
        size: content.size,
        is_downloadable: !isDocument,
        ...(isDocument ? { export_info: { export_as: 'html' } } : { content_hash: hashOf(content) }),
      }
    },
  }
}
