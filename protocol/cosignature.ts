/**
 * Cosignatures (C2SP tlog-cosignature): a witness's word that, at a time, this was the largest checkpoint that it had
 * seen of a log, and that it goes on from all that it had seen before. A signature line of a note whose key has the type
 * 0x04; the signature is a uint64 of seconds since 1970 and an ed25519 signature over `cosignature/v1`, the time and the
 * text of the checkpoint.
 */
import { concat, utf8, type Bytes } from './bytes.ts'
import { noteKey, type NoteKey, type NoteSignature } from './checkpoint.ts'
import { Problem } from './problem.ts'
import { verify } from './signature.ts'
import type { Signer } from './signed.ts'

export interface Cosignature {
  readonly witness: NoteKey
  /** POSIX seconds: when the witness signed. */
  readonly timeSeconds: number
}

const TIME_BYTES = 8
const SIGNATURE_BYTES = 64

/** @param text of the checkpoint, with its last newline */
export function cosign(
  text: string,
  timeSeconds: number,
  { name, signer }: { readonly name: string; readonly signer: Signer },
): NoteSignature {
  const { id } = noteKey(name, signer.key, 'cosignature')
  const time = new Uint8Array(TIME_BYTES)
  new DataView(time.buffer).setBigUint64(0, BigInt(timeSeconds))
  return { name, id, signature: concat(time, signer.sign(cosignedMessage(text, timeSeconds))) }
}

const cosignedMessage = (text: string, timeSeconds: number): Bytes =>
  utf8(`cosignature/v1\ntime ${timeSeconds}\n${text}`)

/**
 * Those of known witnesses, one for each public key: its latest.
 * @param text of the checkpoint
 * @param signatures of its note
 * @throws Problem `bad-signature` when one of a known witness does not verify (C2SP signed-note)
 */
export function readCosignatures(
  text: string,
  signatures: readonly NoteSignature[],
  witnesses: readonly NoteKey[],
): Cosignature[] {
  const latest = new Map<NoteKey, Cosignature>()
  for (const signature of signatures) {
    const witness = witnesses.find(({ name, id }) => name === signature.name && id === signature.id)
    if (!witness) continue
    const timeSeconds = verifyCosignature(text, signature, witness)
    if (timeSeconds >= (latest.get(witness)?.timeSeconds ?? 0)) latest.set(witness, { witness, timeSeconds })
  }
  return [...latest.values()]
}

/** @returns its time. @throws Problem `bad-signature` */
function verifyCosignature(text: string, { name, signature }: NoteSignature, { key, type }: NoteKey): number {
  const isWhole = type === 'cosignature' && signature.length === TIME_BYTES + SIGNATURE_BYTES
  const seconds = isWhole ? new DataView(signature.buffer, signature.byteOffset).getBigUint64(0) : undefined
  const timeSeconds = Number(seconds)
  const message = cosignedMessage(text, timeSeconds)
  // A time beyond what is exact is some 285 million years away.
  if (!Number.isSafeInteger(timeSeconds) || !verify(signature.subarray(TIME_BYTES), message, key))
    throw new Problem('bad-signature', `The cosignature of ${name} does not verify.`)
  return timeSeconds
}
