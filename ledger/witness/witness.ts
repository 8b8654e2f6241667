/**
 * A witness of logs (C2SP tlog-witness): it cosigns a checkpoint when that goes on from the last one that it cosigned of
 * the log, and keeps it before it answers. So it never signs two histories of one log, whoever asks, however often and
 * however many at once: what it cosigned last is one item, and only a write that finds it unchanged is followed by a
 * signature.
 */
import { z, type OpenAPIHono } from '@hono/zod-openapi'
import { sha256 } from '#primitives'
import { equal, fromUtf8, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import {
  formatVerifierKey,
  noteKey,
  noteText,
  openNote,
  parseCheckpoint,
  signatureLine,
  type Checkpoint,
  type NoteKey,
} from '../../protocol/checkpoint.ts'
import { cosign } from '../../protocol/cosignature.ts'
import { decode, encode, field, fields } from '../../protocol/encoding.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { EMPTY_ROOT, HASH_BYTES, verifyConsistency } from '../../protocol/merkle.ts'
import { Problem } from '../../protocol/problem.ts'
import { createService, problemReply } from '../../protocol/service.ts'
import { signerFrom } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { parseAddCheckpoint, SIZE_TYPE, type AddCheckpoint } from '../../protocol/witness-request.ts'

export interface WitnessOptions {
  readonly environment: Environment
  readonly store: Store
  /** 32 bytes: signs cosignatures, and nothing else. */
  readonly secret: Bytes
  /** The name of the key, a URL without its scheme. */
  readonly name: string
  /** The keys of the logs that it follows: the name of each is the log's origin, and a log may have several. */
  readonly logs: readonly NoteKey[]
  readonly onFault?: (error: unknown) => void
}

export interface Witness {
  readonly app: OpenAPIHono
  /** As C2SP signed-note publishes it. */
  readonly verifierKey: string
}

/** What was cosigned last; before the first time the empty tree, as version 0. */
interface Latest {
  readonly version: number
  readonly size: number
  readonly rootHash: Bytes
}

const latestShape = { note: field.text(), rootHash: field.bytes(HASH_BYTES), size: field.integer() }
const LATEST = 'latest'
/** A checkpoint that its log signed beside the one that is kept: together they are proof. */
const FORK = 'fork'
const TRIES = 16

/** Another size than the one asked from was cosigned last, or another root at this size. */
class Elsewhere extends Error {
  readonly size: number
  constructor(size: number) {
    super(`the checkpoint cosigned last has size ${size}`)
    this.size = size
  }
}

export function createWitness(options: WitnessOptions): Witness {
  const { environment, store, name, logs, onFault } = options
  const signer = signerFrom(options.secret)

  /** @returns signature lines. @throws Problem, Elsewhere */
  async function addCheckpoint(request: AddCheckpoint): Promise<string> {
    const [checkpoint, text] = openCheckpoint(request.note, logs)
    if (request.oldSize > checkpoint.size)
      throw new Problem('bad-request', 'The old size is greater than that of the checkpoint.')
    const key = keyOf(checkpoint.origin)
    for (let tries = 0; tries < TRIES; tries++) {
      // The time comes before the look at the store: then, nothing larger was known.
      const timeSeconds = Math.floor(environment.clock.now() / 1000)
      const latest = await readLatest(store, key)
      await checkGrowth(latest, request, checkpoint)
      const body = encode({ note: request.note, rootHash: checkpoint.rootHash, size: checkpoint.size })
      const change = { pk: key, sk: LATEST, expect: latest.version, body }
      if (await store.write([change])) return signatureLine(cosign(text, timeSeconds, { name, signer }))
    }
    throw new Problem('store-unavailable', 'Too many ask for the same log at once. Ask again.')
  }

  async function checkGrowth(latest: Latest, { oldSize, proof, note }: AddCheckpoint, next: Checkpoint): Promise<void> {
    const { origin, rootHash, size } = next
    if (size === latest.size && !equal(rootHash, latest.rootHash)) {
      await store.write([{ pk: keyOf(origin), sk: FORK, expect: 0, body: utf8(note) }])
      onFault?.(new Error(`${origin} has signed two checkpoints of size ${size}: both are kept`))
    }
    if (oldSize !== latest.size) throw new Elsewhere(latest.size)
    if (size === latest.size && !equal(rootHash, latest.rootHash)) throw new Elsewhere(latest.size)
    if (!verifyConsistency(oldSize, size, proof, latest.rootHash, rootHash))
      throw new Problem('proof-invalid', 'The proof does not lead from the checkpoint cosigned last to this one.')
  }

  const app = createService({
    title: 'Raincheck witness',
    description: 'Cosigns checkpoints of the logs that it follows (C2SP tlog-witness).',
    largerBodies: [{ path: /^\/add-checkpoint$/, bytes: limits.noteBytes }],
    ...(onFault && { onFault }),
  })
  describeRoute(app)
  app.post('/add-checkpoint', async (c) => {
    const request = parseAddCheckpoint(fromUtf8(new Uint8Array(await c.req.arrayBuffer())))
    try {
      return c.text(await addCheckpoint(request))
    } catch (error) {
      if (!(error instanceof Elsewhere)) throw error
      return c.body(`${error.size}\n`, 409, { 'content-type': SIZE_TYPE })
    }
  })
  return { app, verifierKey: formatVerifierKey(noteKey(name, signer.key, 'cosignature')) }
}

/** Origins may be longer than keys of a store. */
const keyOf = (origin: string): string => `log/${toHex(sha256(utf8(origin)))}`

async function readLatest(store: Store, pk: string): Promise<Latest> {
  const item = await store.get(pk, LATEST)
  if (!item) return { version: 0, size: 0, rootHash: EMPTY_ROOT }
  return { version: item.version, ...fields(decode(item.body), latestShape) }
}

/** @throws Problem `bad-encoding`, `not-found` for an unknown log, `forbidden` unless a key of the log signed */
function openCheckpoint(note: string, logs: readonly NoteKey[]): readonly [Checkpoint, text: string] {
  const checkpoint = parseCheckpoint(noteText(note))
  const keys = logs.filter(({ name }) => name === checkpoint.origin)
  if (keys.length === 0) throw new Problem('not-found', 'The witness does not follow a log of this origin.')
  try {
    return [checkpoint, openNote(note, keys).text]
  } catch (error) {
    if (error instanceof Problem && error.code === 'bad-signature') throw new Problem('forbidden', error.message)
    throw error
  }
}

const text = (description: string, type = 'text/plain') => ({
  description,
  content: { [type]: { schema: z.string() } },
})

function describeRoute(app: OpenAPIHono): void {
  app.openAPIRegistry.registerPath({
    method: 'post',
    path: '/add-checkpoint',
    summary: 'Cosign a checkpoint that goes on from the one cosigned last (C2SP tlog-witness)',
    request: {
      body: { required: true, content: { 'text/plain': { schema: z.string() } } },
    },
    responses: {
      200: text('Signature lines of the witness'),
      409: text('The size of the checkpoint cosigned last, where it is not the old size', SIZE_TYPE),
      default: problemReply,
    },
  })
}
