/** What the conformance of storages is checked in, and what one does with any storage. */
import type { FileEntry, FileRef, Storage, WriteRef } from '../../agent/storage/storage.ts'

export interface StorageHarness {
  readonly storage: Storage
  /** Another instance over the same place, as after a crash: nothing was closed. `dispose` closes it. */
  reopen(): Promise<Storage>
  /** Puts a file there, or replaces it, as another program would. */
  plant(name: string, bytes: Uint8Array): Promise<void>
  /** Takes a file away, as another program would. */
  uproot(name: string): Promise<void>
  /** Everything that lies there, unfinished writes too. */
  everything(): Promise<readonly string[]>
  dispose(): Promise<void>
}

/** What a request is for, as the driver's caller would say. One call of a driver may take several. */
export type Step = 'list' | 'stat' | 'read' | 'begin' | 'put' | 'written' | 'commit' | 'abort' | 'token'

/** What a test server does to a request, beside or instead of answering it. */
export type ServerFault =
  /** The effect takes place, the connection is cut before the reply. */
  | { readonly kind: 'drop-reply' }
  /** The connection is reset after so many bytes of the request's body; nothing takes effect. */
  | { readonly kind: 'reset-request'; readonly afterBytes: number }
  /** The connection is reset after so many bytes of the reply's body, of a reply that promised more. */
  | { readonly kind: 'reset-reply'; readonly afterBytes: number }
  /** A reply that is whole and short: its length says so. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  /** One byte of the reply's body is another. */
  | { readonly kind: 'corrupt' }
  /** 200 and the whole file, whatever range was asked for. */
  | { readonly kind: 'ignore-range' }
  /** 206 with a Content-Range other than what was asked for. */
  | { readonly kind: 'wrong-range' }
  /** Of a resumable session: it has less than it said before. */
  | { readonly kind: 'forget-bytes'; readonly bytes: number }
  /** Refused as the provider words it; nothing takes effect. `retryAfterS` goes out as Retry-After where given. */
  | {
      readonly kind: 'refuse'
      readonly why: 'busy' | 'rate' | 'daily-cap' | 'token-expired' | 'denied' | 'full' | 'session-gone'
      readonly retryAfterS?: number
    }

/** Scripted faults of a test server, in order for each step. */
export interface Faults {
  /** The next `times` (default 1) requests of the step meet the fault. */
  next(step: Step, fault: ServerFault, times?: number): void
  /** Faults that no request has met yet. */
  readonly left: number
}

/** A storage over HTTP: what `describeCloud` of `storage-faults.ts` needs beside. */
export interface CloudHarness extends StorageHarness {
  readonly faults: Faults
  /** Requests the server has had, by step. */
  requests(step?: Step): number
}

/** The harness and the storage of the test that runs. */
export interface World {
  readonly harness: StorageHarness
  readonly storage: Storage
}

export interface Part {
  readonly offset: number
  readonly part: Uint8Array
}

export const readAll = async (storage: Storage, file: FileRef): Promise<Uint8Array> =>
  storage.read(file, { offset: 0, length: (await storage.stat(file)).size })

export async function allFiles(storage: Storage, under?: string): Promise<FileEntry[]> {
  const files: FileEntry[] = []
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await storage.list({ ...(under !== undefined && { under }), ...(cursor !== undefined && { cursor }) })
    files.push(...page.files)
    cursor = page.cursor
  }
  return files
}

export const namesOf = async (storage: Storage, under?: string): Promise<string[]> =>
  (await allFiles(storage, under)).map(({ name }) => name).toSorted()

/** Parts as the driver likes them. */
export function partsOf(storage: Storage, bytes: Uint8Array): Part[] {
  const count = Math.ceil(bytes.length / storage.partBytes)
  return Array.from({ length: count }, (_, i) => ({
    offset: i * storage.partBytes,
    part: bytes.subarray(i * storage.partBytes, (i + 1) * storage.partBytes),
  }))
}

async function putAll(storage: Storage, write: WriteRef, bytes: Uint8Array): Promise<void> {
  for (const { offset, part } of partsOf(storage, bytes)) await storage.put(write, offset, part)
}

export async function store(storage: Storage, name: string, bytes: Uint8Array): Promise<FileRef & { version: string }> {
  const write = await storage.begin(name, bytes.length)
  await putAll(storage, write, bytes)
  return storage.commit(write)
}

/** As it comes back from a store. */
export const thawed = <T>(ref: T): T => JSON.parse(JSON.stringify(ref)) as T
