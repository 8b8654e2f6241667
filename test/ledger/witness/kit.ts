/** A log that a test grows, forks and signs as it likes, and witnesses of it. */
import { sha256 } from '#primitives'
import { openSqlite } from '../../../infra/store/sqlite.ts'
import { createWitness, type Witness } from '../../../ledger/witness/witness.ts'
import { utf8, type Bytes } from '../../../protocol/bytes.ts'
import { formatCheckpoint, noteKey, parseVerifierKey, signNote, type NoteKey } from '../../../protocol/checkpoint.ts'
import { consistencyProof, leafHash, levelsOf, rootOf } from '../../../protocol/merkle.ts'
import { signerFrom, type Signer } from '../../../protocol/signed.ts'
import type { Store } from '../../../protocol/store.ts'
import { formatAddCheckpoint } from '../../../protocol/witness-request.ts'
import { testClock, testEnvironment, type TestClock } from '../kit.ts'

export interface TestLog {
  readonly origin: string
  readonly key: NoteKey
  readonly signer: Signer
  /** The signed checkpoint of the first entries. */
  note(size: number): string
  text(size: number): string
  root(size: number): Bytes
  proof(oldSize: number, size: number): Bytes[]
  /** A request to cosign the checkpoint of `size` entries. */
  request(oldSize: number, size: number): string
}

/** @param history two logs of one origin and key, but other histories, have all entries from `forkAt` on different */
export function testLog(origin = 'log.example/one', history = '', forkAt = 0): TestLog {
  const signer = signerFrom(sha256(utf8(`key of ${origin}`)))
  const hashes = (size: number): Bytes[] =>
    Array.from({ length: size }, (_, i) => leafHash(utf8(i < forkAt ? `entry ${i}` : `entry ${i}${history}`)))
  const root = (size: number): Bytes => rootOf(hashes(size))
  const text = (size: number): string => formatCheckpoint({ origin, size, rootHash: root(size) })
  const note = (size: number): string => signNote(text(size), { name: origin, signer })
  const proof = (oldSize: number, size: number): Bytes[] => consistencyProof(levelsOf(hashes(size)), oldSize)
  return {
    origin,
    key: noteKey(origin, signer.key),
    signer,
    note,
    text,
    root,
    proof,
    request: (oldSize, size) =>
      formatAddCheckpoint({ oldSize, proof: proof(Math.min(oldSize, size), size), note: note(size) }),
  }
}

export interface TestWitness extends Witness {
  readonly clock: TestClock
  readonly store: Store
  readonly key: NoteKey
  readonly faults: readonly unknown[]
  ask(request: string): Promise<{ status: number; type: string; body: string }>
}

export function openWitness({
  logs = [testLog().key],
  store = openSqlite(':memory:'),
  name = 'witness.example/w1',
  clock = testClock(),
}: {
  logs?: readonly NoteKey[]
  store?: Store
  name?: string
  clock?: TestClock
} = {}): TestWitness {
  const faults: unknown[] = []
  const witness = createWitness({
    environment: testEnvironment(clock),
    store,
    secret: sha256(utf8(`key of ${name}`)),
    name,
    logs,
    onFault: (error) => faults.push(error),
  })
  return {
    ...witness,
    clock,
    store,
    faults,
    key: parseVerifierKey(witness.verifierKey, 'cosignature'),
    async ask(request) {
      const response = await witness.app.request('/add-checkpoint', { method: 'POST', body: request })
      return {
        status: response.status,
        type: response.headers.get('content-type') ?? '',
        body: await response.text(),
      }
    },
  }
}
