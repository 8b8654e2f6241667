import type { Site } from './ways.ts'

/**
 * Where an owner's files lie: immutable files, read anywhere, written in parts. One interface for a folder, S3, Drive and
 * Dropbox; `test/conformance/storage.ts` says what it means. Hashes are checked above it, so that no driver can forget.
 *
 * Names are relative paths with `/` between, of names as `protocol/file-path.ts` allows them; any other is refused with
 * `path-outside`, as is what leads out of the storage by a link. Every method throws only Problems:
 * - `not-found`, `path-outside`
 * - `storage-unavailable`, `storage-parked`, `storage-denied`, `storage-full`, `storage-read-only`: `faults.ts` says what
 *   their members mean
 *
 * ## How a download writes
 * A torrent of one file: `begin(name, size)`, `put` each verified piece, `commit`. A folder: `freeFolder(meta.name)`
 * once, kept with the download, then the same for each file under `<that folder>/<path>`, empty files too. The caller
 * saves each WriteRef before its first `put`; after a crash `written` says what need not be fetched again. Commits are
 * repeatable: after a crash between a commit and the caller's own record of it, commit again.
 */
export interface Storage {
  /** `in-order`: each `put` must begin where the last one ended. */
  readonly writes: 'any-order' | 'in-order'
  /** Parts of this size (but for a file's last) suit the driver, and begin at a multiple of it, unless a write says another. */
  readonly partBytes: number
  /** Each `put` must be one such part, whole; else any run of bytes is taken. */
  readonly wholeParts: boolean
  /** Files in a stable order, all or those of a folder. A folder that does not exist has none. */
  list(query?: ListQuery): Promise<FilePage>
  /** @throws Problem `not-found`, also for a folder */
  stat(file: FileRef): Promise<FileStat>
  /**
   * Exactly the bytes of the range, in `into` where given (whose length must be the range's).
   * @throws Problem `not-found`; `content-changed` when the file is not the version that the ref pins, or changes
   *   meanwhile; `range-invalid` beyond the end
   */
  read(file: FileRef, range: ByteRange, into?: Uint8Array): Promise<Uint8Array>
  /**
   * Begins a file of `size` bytes. It appears under its name at `commit`; a name that is taken by then gets " (2)".
   * @param pieceLength a power of two: where it can be, a part is a whole number of pieces
   * @throws Problem `storage-full` when it is known not to fit
   */
  begin(name: string, size: number, pieceLength?: number): Promise<WriteRef>
  /**
   * The bytes survive a crash once it resolves. Repeatable; several may run at once when `writes` is `any-order`.
   * @throws Problem `not-found` after `abort`, `range-invalid` beyond the size
   */
  put(write: WriteRef, offset: number, part: Uint8Array): Promise<void>
  /** What was put, in order and merged: the storage's truth after a crash. All of it after `commit`. @throws Problem `not-found` after `abort` */
  written(write: WriteRef): Promise<readonly ByteRange[]>
  /**
   * Makes the whole file appear at once, under a name that was free. Repeatable: answers with the same file.
   * @throws Problem `conflict` while bytes are missing, `not-found` after `abort`
   */
  commit(write: WriteRef): Promise<FileRef & { readonly version: string }>
  /** Leaves nothing of the write behind; a committed file stays. Repeatable. */
  abort(write: WriteRef): Promise<void>
  /** Repeatable. @throws Problem `content-changed` when the ref pins another version */
  remove(file: FileRef): Promise<void>
  /** The name, or with " (2)" and so on, that nothing in the storage bears; `taken` tells of names promised elsewhere. */
  freeFolder(name: string, taken?: (name: string) => boolean): Promise<string>
  quota(): Promise<Quota | undefined>
  /** Whose it is at the provider, where links of one account share its grant. */
  account?(): Promise<string>
  /** A URL that serves this range and no other, for so long; where the provider has such. @throws Problem as `read` */
  link?(file: FileRef, range: ByteRange, forMs: number): Promise<URL>
  /** Where the storage lies, where others may reach it without us. */
  site?(): Promise<Site>
  /** Where a file lies at its provider, for `copyFrom` of a storage there; where the provider copies by itself. */
  place?(file: FileRef): CopySource
  /**
   * The provider copies a part by itself: no byte passes us.
   * @returns its checksum as the provider computed it, to hold against the piece
   * @throws Problem `not-found`, `content-changed`, `storage-denied` when the source does not let us
   */
  copyFrom?(write: WriteRef, offset: number, source: CopySource, range: ByteRange): Promise<PartChecksum>
  /** For `copyWhole` of a storage of the same owner's at the same provider. @throws Problem as `read` */
  lend?(file: FileRef & { readonly version: string }): Promise<Loan>
  /**
   * The provider copies the whole file by itself, in place of every `put`: no byte passes us. Repeatable.
   * @throws Problem `storage-denied` for a loan of another provider, or one that the provider does not take;
   *   `content-changed` when it is of another version by now
   */
  copyWhole?(write: WriteRef, loan: Loan): Promise<void>
  /** Lets go of handles and connections; unfinished writes stay. */
  close(): Promise<void>
}

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

export interface FileRef {
  readonly name: string
  /** The provider's id, where names are not unique. */
  readonly id?: string
  /** Pins the content: as of `stat`, `list` or `commit`. */
  readonly version?: string
}

export interface FileStat {
  readonly size: number
  readonly version: string
  readonly modifiedMs?: number
}

export type FileEntry = FileRef & FileStat

export interface ListQuery {
  /** Only files in this folder, at any depth. */
  readonly under?: string
  /** Of the page before. */
  readonly cursor?: string
}

export interface FilePage {
  readonly files: readonly FileEntry[]
  /** What is there but can be no file of the storage: a link that leads out, a name that is refused, what none may read. */
  readonly refused: readonly { readonly name: string; readonly problem: 'path-outside' | 'not-found' | 'forbidden' }[]
  /** Missing on the last page. */
  readonly cursor?: string
  /** The provider has lost its place: the list begins with this page again, and earlier ones are void. */
  readonly isAnew?: boolean
}

/** JSON-safe, so that another instance can go on with the write. */
export interface WriteRef {
  /** Opaque. */
  readonly id: string
  readonly name: string
  readonly size: number
  /** Where it is not the storage's own. */
  readonly partBytes?: number
}

/** JSON-safe: it goes to other agents. Holds no secret. */
export interface CopySource {
  /** The provider, such as `s3`. */
  readonly provider: string
  readonly place: string
  readonly version: string
}

/** A secret: whoever has it can copy the file. */
export interface Loan {
  readonly provider: string
  readonly reference: string
  /** As the provider tells it of the very version. */
  readonly contentHash: string
}

export interface PartChecksum {
  readonly sha1?: Uint8Array
  readonly sha256?: Uint8Array
}

/** In bytes. */
export interface Quota {
  readonly total?: number
  readonly used?: number
}
