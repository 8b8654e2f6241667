/**
 * The checkpoint that a log publishes: its head with what its witnesses say of it. Each round asks all of them at once
 * about the newest head, waits for a few seconds at most, and publishes what came of it. A witness that did not answer
 * is left alone for a while, so that it holds up nobody.
 *
 * What is published is one item and only ever goes forward: of several processes, the one with the larger checkpoint
 * wins, and on the same checkpoint they add to what is there.
 */
import type { Bytes } from './bytes.ts'
import { noteText, parseSignatureLines, signatureLine, type NoteKey, type NoteSignature } from './checkpoint.ts'
import { readCosignatures } from './cosignature.ts'
import { decode, encode, field, fields } from './encoding.ts'
import type { Environment } from './environment.ts'
import { decideAndWrite } from './items.ts'
import type { Store } from './store.ts'
import { askWitness, type WitnessPlace } from './witness-client.ts'

/** A log, whose store keeps what is published of it beside its head. */
export interface WitnessedLog {
  readonly store: Store
  /** Asked to cosign each checkpoint; the head is served as it is where there are none. */
  readonly witnesses: readonly WitnessPlace[]
  /** The newest checkpoint as the log signed it. */
  head(): Promise<SignedHead>
  /** RFC 6962 §2.1.2, from one size to another that the log has reached. */
  consistency(oldSize: number, size: number): Promise<readonly Bytes[]>
}

export interface SignedHead {
  readonly size: number
  /** A signed note. */
  readonly note: string
}

export interface WitnessingOptions {
  readonly environment: Environment
  readonly log: WitnessedLog
  /** Where the log rests, its witnesses are asked again after this. */
  readonly againMs: number
  readonly onFault: (error: unknown) => void
}

export interface Witnessing {
  /** Asks about the newest head, unless that is published with fresh cosignatures; never fails. Who asks meanwhile waits for the same. */
  round(): Promise<void>
}

const PUBLISHED = { pk: 'log', sk: 'published' }
/** How long a witness that failed is left alone. */
const REST_MS = 30_000

interface Published {
  /** 0 before the first time. */
  readonly version: number
  readonly size: number
  /** As the sequencer signed it. */
  readonly note: string
  /** Of witnesses. */
  readonly lines: string
}

const shape = { lines: field.text(), note: field.text(), size: field.integer() }

async function readPublished(store: Store): Promise<Published> {
  const item = await store.get(PUBLISHED.pk, PUBLISHED.sk)
  if (!item) return { version: 0, size: 0, note: '', lines: '' }
  return { version: item.version, ...fields(decode(item.body), shape) }
}

/** The signed checkpoint to be served: the newest head where no witness is asked. */
export async function publishedCheckpoint({
  store,
  witnesses,
  head,
}: Pick<WitnessedLog, 'store' | 'witnesses' | 'head'>): Promise<string> {
  const { note, lines } = witnesses.length === 0 ? { note: '', lines: '' } : await readPublished(store)
  return note === '' ? (await head()).note : note + lines
}

export function createWitnessing({ environment, log, againMs, onFault }: WitnessingOptions): Witnessing {
  const { store, witnesses } = log
  const { clock } = environment
  /** By witness: the size it cosigned last, and until when it is left alone. */
  const sizes = new Map<string, number>()
  const resting = new Map<string, number>()

  async function ask(place: WitnessPlace, head: SignedHead): Promise<NoteSignature | undefined> {
    const { name } = place.key
    const question = { note: head.note, text: noteText(head.note), size: head.size }
    const proof = (oldSize: number) => log.consistency(oldSize, head.size)
    for (let oldSize = Math.min(sizes.get(name) ?? 0, head.size), asked = 0; asked < 2; asked++) {
      const answer = await askWitness(environment, place, { ...question, oldSize, proof })
      if ('cosignature' in answer) {
        sizes.set(name, head.size)
        return answer.cosignature
      }
      if (answer.size === oldSize) throw new Error(`the witness ${name} knows another history of the log`)
      sizes.set(name, answer.size)
      // Another process has had it cosign a later checkpoint, and publishes that.
      if (answer.size > head.size) return undefined
      oldSize = answer.size
    }
    return undefined
  }

  async function hear(place: WitnessPlace, head: SignedHead): Promise<NoteSignature | undefined> {
    const { name } = place.key
    if (isResting(place.key)) return undefined
    try {
      return await ask(place, head)
    } catch (error) {
      resting.set(name, clock.now() + REST_MS)
      onFault(error)
      return undefined
    }
  }

  /** Those whose word is missing, or not fresh any more; undefined when there is nothing to publish. */
  function due(head: SignedHead, published: Published): readonly WitnessPlace[] | undefined {
    if (head.size === 0 || published.size > head.size) return undefined
    if (published.note !== head.note) return witnesses
    const said = readCosignatures(noteText(head.note), parseSignatureLines(published.lines), keys)
    const since = clock.now() - againMs
    const fresh = new Set(said.filter(({ timeSeconds }) => timeSeconds * 1000 > since).map(({ witness }) => witness))
    const missing = witnesses.filter(({ key }) => !fresh.has(key) && !isResting(key))
    return missing.length > 0 ? missing : undefined
  }

  const isResting = ({ name }: NoteKey): boolean => (resting.get(name) ?? 0) > clock.now()

  async function askAbout(head: SignedHead): Promise<void> {
    const asked = due(head, await readPublished(store))
    if (!asked) return
    const heard = await Promise.all(asked.map((place) => hear(place, head)))
    const cosignatures = heard.filter((one) => one !== undefined)
    await decideAndWrite(store, async () => {
      const now = await readPublished(store)
      const next = merged(now, head, cosignatures)
      const changes = next ? [{ ...PUBLISHED, expect: now.version, body: encode({ ...next }) }] : []
      return { changes, result: undefined }
    })
  }

  async function round(): Promise<void> {
    const head = await log.head()
    if (asking?.note !== head.note) {
      const done = askAbout(head).finally(() => {
        if (asking?.done === done) asking = undefined
      })
      asking = { note: head.note, done }
    }
    return asking.done
  }

  const keys = witnesses.map(({ key }) => key)
  let asking: { readonly note: string; readonly done: Promise<void> } | undefined
  return {
    round: async () => {
      if (witnesses.length > 0) await round().catch((error: unknown) => onFault(error))
    },
  }
}

/** @returns undefined when there is nothing to publish */
function merged(
  now: Published,
  head: SignedHead,
  cosignatures: readonly NoteSignature[],
): Omit<Published, 'version'> | undefined {
  if (now.size > head.size) return undefined
  const isSame = now.note === head.note
  if (isSame && cosignatures.length === 0) return undefined
  const kept = isSame
    ? parseSignatureLines(now.lines).filter((one) => !cosignatures.some((other) => isBy(other, one)))
    : []
  return { size: head.size, note: head.note, lines: [...kept, ...cosignatures].map(signatureLine).join('') }
}

const isBy = (a: NoteSignature, b: NoteSignature): boolean => a.name === b.name && a.id === b.id
