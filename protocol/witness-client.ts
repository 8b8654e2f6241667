/** A log's question to a witness (C2SP tlog-witness): will it cosign this checkpoint? */
import { fromUtf8, utf8, type Bytes } from './bytes.ts'
import { parseSignatureLines, type NoteKey, type NoteSignature } from './checkpoint.ts'
import { readCosignatures } from './cosignature.ts'
import type { Environment } from './environment.ts'
import { exchange } from './exchange.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { formatAddCheckpoint, parseSize, SIZE_TYPE } from './witness-request.ts'

export interface WitnessPlace {
  readonly key: NoteKey
  /** The submission prefix, without a trailing slash. */
  readonly url: string
}

export interface Question {
  /** The checkpoint, a signed note, and the text in it. */
  readonly note: string
  readonly text: string
  readonly size: number
  /** That the witness cosigned last, as far as we know. */
  readonly oldSize: number
  readonly proof: (oldSize: number) => Promise<readonly Bytes[]>
}

/** `size`: what the witness has cosigned last, where it differs from what we thought. */
export type WitnessAnswer = { readonly cosignature: NoteSignature } | { readonly size: number }

/** @throws Problem `peer-failed` for any answer but a cosignature that verifies, or a size */
export async function askWitness(
  environment: Environment,
  { key, url }: WitnessPlace,
  { note, text, oldSize, proof }: Question,
): Promise<WitnessAnswer> {
  const body = utf8(formatAddCheckpoint({ oldSize, proof: await proof(oldSize), note }))
  const init = { method: 'POST', body, headers: { 'content-type': 'text/plain; charset=utf-8' } }
  const bounds = { timeoutMs: limits.witnessTimeoutMs, replyBytes: limits.noteBytes }
  const reply = await exchange(environment, `${url}/add-checkpoint`, init, bounds).catch((error: unknown) => {
    throw error instanceof Problem ? error : failed(key, 'cannot be reached')
  })
  const said = fromUtf8(reply.body)
  if (reply.status === 409 && reply.type.split(';')[0] === SIZE_TYPE) return { size: parseSize(said) }
  if (reply.status !== 200) throw failed(key, `answered with status ${reply.status}`)
  const lines = parseSignatureLines(said)
  const cosignature = lines.find(({ name, id }) => name === key.name && id === key.id)
  if (!cosignature || readCosignatures(text, [cosignature], [key]).length === 0)
    throw failed(key, 'answered without its cosignature')
  return { cosignature }
}

const failed = ({ name }: NoteKey, what: string): Problem => new Problem('peer-failed', `The witness ${name} ${what}.`)
