/**
 * The repository's own log: each book and each operation that it takes, appended in the very write that takes it. The
 * checkpoint says when it was the newest: the repository cosigns it with the time (C2SP tlog-cosignature), so an old one
 * that is shown again tells its age. Where it has witnesses, whoever is the first to ask for a checkpoint has them asked:
 * a log that grows by a few entries needs nobody to do so in between.
 */
import { sha256 } from '#primitives'
import { fromHex, toHex, type Bytes } from '../protocol/bytes.ts'
import { addSignature, formatVerifierKey, noteKey, noteText, parseCheckpoint } from '../protocol/checkpoint.ts'
import { cosign } from '../protocol/cosignature.ts'
import type { Environment } from '../protocol/environment.ts'
import { decideAndWrite, type Decision } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { leafHash } from '../protocol/merkle.ts'
import { issueReceipt } from '../protocol/receipt.ts'
import { signerFrom, type Envelope } from '../protocol/signed.ts'
import { createStoreLog, type LogName } from '../protocol/store-log.ts'
import type { Store } from '../protocol/store.ts'
import type { Tile } from '../protocol/tile.ts'
import type { WitnessPlace } from '../protocol/witness-client.ts'
import { createWitnessing, publishedCheckpoint, type WitnessedLog } from '../protocol/witnessing.ts'

export interface RepositoryLog {
  /** Who signs, and under which name. */
  info(): Promise<LogInfo>
  /** Decides and writes as `decideAndWrite`, and appends these entries in the same write when it changes anything. */
  write<T>(decide: () => Promise<Logged<T>>): Promise<T>
  /** The promise that an entry is in the log. */
  receipt(entry: Bytes): Promise<Envelope>
  /** The newest, cosigned now, and by its witnesses. */
  checkpoint(): Promise<string>
  /** Another one as soon as the log has grown; 0 while nothing is in it. */
  version(): Promise<number>
  size(): Promise<number>
  /** From an index on, up to a size that the log has reached. */
  entries(from: number, size: number): Promise<readonly Bytes[]>
  /** @throws Problem `not-found` beyond the log's end */
  tile(tile: Tile): Promise<Bytes>
}

export interface Logged<T> extends Decision<T> {
  readonly entries: readonly Bytes[]
}

export interface LogInfo extends LogName {
  /** SHA-256 of the key, hex. */
  readonly id: string
  /** C2SP verifier keys: of the checkpoint, and of the time that it is cosigned with. */
  readonly vkey: string
  readonly timeKey: string
}

export interface RepositoryLogOptions {
  readonly environment: Environment
  readonly store: Store
  readonly secret: Bytes | undefined
  readonly origin: string | undefined
  readonly witnesses?: readonly WitnessPlace[]
  readonly onFault?: (error: unknown) => void
}

/** So that the word of a witness is fresh enough for all the credit that chains give. */
const WITNESSED_AGAIN_MS = limits.freshMs / 2

const KEY = { pk: 'log', sk: 'key' }
const ORIGIN_DIGITS = 16

export function createRepositoryLog(options: RepositoryLogOptions): RepositoryLog {
  const { environment, store, secret, origin, witnesses = [], onFault = () => {} } = options
  let known: Promise<LogInfo> | undefined
  let last: Promise<unknown> = Promise.resolve()
  const info = (): Promise<LogInfo> => {
    known ??= readKey().then((key) => infoOf(key, origin))
    known.catch(() => (known = undefined))
    return known
  }
  const log = createStoreLog(store, info)
  const witnessed: WitnessedLog = { ...log, store, witnesses }
  const witnessing = createWitnessing({ environment, log: witnessed, againMs: WITNESSED_AGAIN_MS, onFault })

  async function readKey(): Promise<Bytes> {
    if (secret) return secret
    await store.write([{ ...KEY, expect: 0, body: environment.random.bytes(32) }])
    return (await store.get(KEY.pk, KEY.sk))?.body as Bytes
  }

  async function append<T>(decide: () => Promise<Logged<T>>): Promise<T> {
    return decideAndWrite(store, async () => {
      // The head is read first: what is decided then fails with it when another came between.
      const { changes, entries, result } = await decide()
      if (changes.length === 0 || entries.length === 0) return { changes, result }
      return { changes: [...changes, ...(await log.grow(entries)).changes], result }
    })
  }

  /** At least what the log is now: what could not be published goes out as it is. */
  async function newest(): Promise<string> {
    const head = await log.head()
    await witnessing.round()
    const note = await publishedCheckpoint(witnessed)
    return parseCheckpoint(noteText(note)).size < head.size ? head.note : note
  }

  return {
    info,
    /** One at a time within a process: they would all be after the same head. */
    write(decide) {
      const turn = last.then(() => append(decide))
      last = turn.catch(() => undefined)
      return turn
    },
    async receipt(entry) {
      const { id, signer } = await info()
      const terms = { entry: leafHash(entry), ledger: fromHex(id), mergeDelay: 0, time: environment.clock.now() }
      return issueReceipt(terms, signer)
    },
    async checkpoint() {
      const { signer, origin: name } = await info()
      // The time comes before the look at the store: then, nothing larger was there.
      const seconds = Math.floor(environment.clock.now() / 1000)
      const note = await newest()
      return addSignature(note, cosign(noteText(note), seconds, { name, signer }))
    },
    version: () => log.version(),
    size: () => log.size(),
    entries: (from, size) => log.entries(from, size),
    tile: (tile) => log.tile(tile),
  }
}

function infoOf(secret: Bytes, origin?: string): LogInfo {
  const signer = signerFrom(secret)
  const id = toHex(sha256(signer.key))
  const name = origin ?? `raincheck-repository/${id.slice(0, ORIGIN_DIGITS)}`
  return {
    id,
    origin: name,
    signer,
    vkey: formatVerifierKey(noteKey(name, signer.key)),
    timeKey: formatVerifierKey(noteKey(name, signer.key, 'cosignature')),
  }
}
