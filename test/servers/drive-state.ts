/** The files of one Drive, as its owner and other programs see them. */
import { bytesContent, digestOf, type Content } from './s3-content.ts'

export const FOLDER = 'application/vnd.google-apps.folder'
export const ROOT = 'root-0'

/** `size` is told "in bytes of blobs and Google Workspace editor files"; none of the latter's can be downloaded. */
const DOCUMENT_BYTES = 1024

/** Larger ones are told without their checksum: hashing them would take minutes. */
const HASHED_MOST = 2 ** 31

export interface DriveFile {
  readonly id: string
  name: string
  readonly mimeType: string
  parents: readonly string[]
  trashed: boolean
  appProperties: Readonly<Record<string, string>>
  readonly createdTime: string
  modifiedTime: string
  /** Missing for folders and for what Google's editors made. */
  content?: Content
  headRevision: number
  /** Made by the app, or opened with it: what the scope `drive.file` sees. */
  readonly ours: boolean
  readonly isAbusive?: boolean
  /** Others have downloaded it too often today. */
  readonly isCapped?: boolean
}

export interface NewFile {
  readonly id?: string
  readonly name?: string
  readonly mimeType?: string
  readonly parents?: readonly string[]
  readonly appProperties?: Readonly<Record<string, string>>
  readonly content?: Content
  readonly ours?: boolean
  readonly isAbusive?: boolean
}

export interface DriveState {
  readonly files: ReadonlyMap<string, DriveFile>
  readonly limit: number
  newId(): string
  /** Whether `generateIds` gave it away. */
  isGiven(id: string): boolean
  create(file: NewFile): DriveFile
  /** With all that lies in it. */
  remove(id: string): void
  replace(file: DriveFile, content: Content): void
  used(): number
  setLimit(bytes: number): void
  /** While it lags, a search does not find what was made since. */
  lagSearch(lags: boolean): void
  isFound(file: DriveFile): boolean
  /** By itself, or with a folder above it: as Drive tells it of both. */
  isTrashed(file: DriveFile): boolean
  resource(file: DriveFile): Record<string, unknown>
}

export const FILE_FIELDS = [
  'kind',
  'id',
  'name',
  'mimeType',
  'parents',
  'trashed',
  'appProperties',
  'createdTime',
  'modifiedTime',
  'size',
  'md5Checksum',
  'sha1Checksum',
  'sha256Checksum',
  'headRevisionId',
  'version',
  'capabilities',
]

export function createDriveState(now: () => number): DriveState {
  const files = new Map<string, DriveFile>()
  const given = new Set<string>()
  const unfound = new Set<string>()
  let serial = 0
  let limit = 15 * 2 ** 30
  let lags = false
  const time = (): string => new Date(now() + serial).toISOString()
  const newId = (): string => {
    const id = `1file${String(++serial).padStart(6, '0')}${'x'.repeat(17)}`
    given.add(id)
    return id
  }
  const isTrashed = ({ trashed, parents }: DriveFile): boolean =>
    trashed || parents.some((id) => isTrashed(files.get(id) as DriveFile))
  const empty = bytesContent(new Uint8Array(0))
  const md5s = new WeakMap<Content, string>()
  const md5 = (content: Content): string => {
    const known = md5s.get(content) ?? digestOf('md5', content).toString('hex')
    md5s.set(content, known)
    return known
  }

  function add(id: string, file: Omit<DriveFile, 'id' | 'createdTime' | 'modifiedTime' | 'headRevision'>): DriveFile {
    const made: DriveFile = { id, createdTime: time(), modifiedTime: time(), headRevision: ++serial, ...file }
    files.set(id, made)
    return made
  }
  add(ROOT, { name: 'My Drive', mimeType: FOLDER, parents: [], trashed: false, appProperties: {}, ours: true })

  return {
    files,
    get limit() {
      return limit
    },
    newId,
    isGiven: (id) => given.has(id),
    create({ id = newId(), name = 'Untitled', mimeType = 'application/octet-stream', parents = [ROOT], ...rest }) {
      const { appProperties = {}, ours = true, isAbusive = false } = rest
      const isBlob = !mimeType.startsWith('application/vnd.google-apps.')
      const content = isBlob ? { content: rest.content ?? empty } : {}
      const file = add(id, { name, mimeType, parents, trashed: false, appProperties, ours, isAbusive, ...content })
      if (lags) unfound.add(id)
      return file
    },
    remove(id) {
      files.delete(id)
      for (const { id: child, parents } of files.values()) if (parents.includes(id)) this.remove(child)
    },
    replace(file, content) {
      Object.assign(file, { content, headRevision: ++serial, modifiedTime: time() })
    },
    used: () => [...files.values()].reduce((sum, { content }) => sum + (content?.size ?? 0), 0),
    setLimit: (bytes) => (limit = bytes),
    lagSearch(whether) {
      lags = whether
      if (!lags) unfound.clear()
    },
    isFound: ({ id }) => !unfound.has(id),
    isTrashed,
    resource(file) {
      const { content, headRevision, ours: _, isAbusive: __, isCapped: ___, ...own } = file
      const plain = { ...own, trashed: isTrashed(file) }
      const size = plain.mimeType === FOLDER ? {} : { size: String(DOCUMENT_BYTES) }
      if (!content) return { kind: 'drive#file', ...plain, ...size }
      const md5Checksum = content.size > HASHED_MOST ? undefined : md5(content)
      return {
        kind: 'drive#file',
        ...plain,
        size: String(content.size),
        md5Checksum,
        headRevisionId: `0B${headRevision}`,
      }
    },
  }
}
