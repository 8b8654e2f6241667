/**
 * Signed notes (C2SP signed-note) and the checkpoint of a log as the text of one (C2SP tlog-checkpoint).
 *
 * @example
 * example.com/behind-the-sofa
 * 20852163
 * CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
 *
 * — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
 */
import { decodeBase64, encodeBase64, sha256 } from '#primitives'
import { concat, utf8, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { HASH_BYTES } from './merkle.ts'
import { Problem } from './problem.ts'
import { checkKey, verify } from './signature.ts'
import type { Signer } from './signed.ts'

/** The head of a log: `size` leaves and the root of the tree over them (RFC 6962 §2.1). */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** 32 bytes. */
  readonly rootHash: Bytes
}

/** A key that signs notes: name and id together say which, and which algorithm. */
export interface NoteKey {
  readonly name: string
  /** uint32. */
  readonly id: number
  readonly type: SignatureType
  /** ed25519, 32 bytes. */
  readonly key: Bytes
}

export interface NoteSignature {
  readonly name: string
  readonly id: number
  /** What follows the key id; 64 bytes for ed25519. */
  readonly signature: Bytes
}

export interface Note {
  /** Ends with a newline. */
  readonly text: string
  /** Those of known keys, all of them verified: at least one. */
  readonly signatures: readonly NoteSignature[]
  /** Those of keys that the reader does not know. */
  readonly unknown: readonly NoteSignature[]
}

/** What a key signs, by the specification's byte: the text of notes, or as a witness a timestamp with it (cosignature.ts). */
const SIGNATURE_TYPES = { note: 0x01, cosignature: 0x04 } as const
export type SignatureType = keyof typeof SIGNATURE_TYPES

const KEY_ID_BYTES = 4
const KEY_NAME = /^[^+\p{White_Space}\p{Cc}]+$/u
const VERIFIER_KEY = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/
const SIGNATURE_LINE = /^— ([^ ]+) ([A-Za-z0-9+/]+=*)$/
const TREE_SIZE = /^(?:0|[1-9]\d{0,15})$/

export const formatCheckpoint = ({ origin, size, rootHash }: Checkpoint): string =>
  `${origin}\n${size}\n${encodeBase64(rootHash)}\n`

/** Extension lines are ignored. @throws Problem `bad-encoding` */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', root = '', ...rest] = text.split('\n')
  const extensions = rest.slice(0, -1)
  const isWhole = rest.at(-1) === '' && origin !== '' && !extensions.includes('')
  const rootHash = base64(root)
  if (!isWhole || !TREE_SIZE.test(size) || !Number.isSafeInteger(Number(size)) || rootHash?.length !== HASH_BYTES) {
    throw new Problem('bad-encoding', 'A checkpoint is an origin, a tree size and a root hash, a line each.')
  }
  return { origin, size: Number(size), rootHash }
}

/** @throws Problem `bad-encoding` for a name that is empty or holds spaces, plus or control characters, or an unsound key */
export function noteKey(name: string, key: Bytes, type: SignatureType = 'note'): NoteKey {
  if (!KEY_NAME.test(name))
    throw new Problem('bad-encoding', 'A key name is not empty and has neither spaces nor plus.')
  checkKey(key)
  return { name, id: uint32(sha256(concat(utf8(`${name}\n`), typedKey(type, key)))), type, key }
}

const typedKey = (type: SignatureType, key: Bytes): Bytes => concat(Uint8Array.of(SIGNATURE_TYPES[type]), key)

/** A verifier key, `<name>+<id in hex>+<base64 of type and key>`: how a log's key is published. */
export const formatVerifierKey = ({ name, id, type, key }: NoteKey): string =>
  `${name}+${id.toString(16).padStart(2 * KEY_ID_BYTES, '0')}+${encodeBase64(typedKey(type, key))}`

/** @throws Problem `bad-encoding` unless it is the verifier key of an ed25519 key of that type, its id the right one */
export function parseVerifierKey(text: string, type: SignatureType = 'note'): NoteKey {
  const [, name = '', , encoded = ''] = VERIFIER_KEY.exec(text) ?? []
  const bytes = base64(encoded)
  if (bytes?.[0] !== SIGNATURE_TYPES[type])
    throw new Problem('bad-encoding', `The text is not the verifier key of an ed25519 key of the type ${type}.`)
  const key = noteKey(name, bytes.slice(1), type)
  if (formatVerifierKey(key) !== text)
    throw new Problem('bad-encoding', 'The key id in the verifier key does not match its key.')
  return key
}

/** Signs a text that ends with a newline, once with each signer under its key name. */
export function signNote(
  text: string,
  ...signers: readonly { readonly name: string; readonly signer: Signer }[]
): string {
  if (!isNoteText(text))
    throw new Problem('bad-encoding', 'The text of a note ends with a newline and has no other control character.')
  const lines = signers.map(({ name, signer }) => {
    const { id } = noteKey(name, signer.key)
    return signatureLine({ name, id, signature: signer.sign(utf8(text)) })
  })
  return `${text}\n${lines.join('')}`
}

/** The note with one more signature line, such as a witness's. */
export const addSignature = (note: string, signature: NoteSignature): string => note + signatureLine(signature)

/** `— <name> base64(key id || signature)`, with its newline. */
export function signatureLine({ name, id, signature }: NoteSignature): string {
  const keyId = Uint8Array.of(id >>> 24, id >>> 16, id >>> 8, id)
  return `— ${name} ${encodeBase64(concat(keyId, signature))}\n`
}

/**
 * Reads a note that at least one of the known keys signed.
 * @throws Problem `bad-encoding` for a malformed note, `bad-signature` when a known key's signature is wrong or none is there
 */
export function openNote(note: string, keys: readonly NoteKey[]): Note {
  const { text, lines } = splitNote(note)
  const signatures = lines.map(parseSignatureLine)
  const message = utf8(text)
  const known: NoteSignature[] = []
  const unknown: NoteSignature[] = []
  for (const signature of signatures) {
    const key = keys.find(({ name, id }) => name === signature.name && id === signature.id)
    if (key && !verify(signature.signature, message, key.key)) {
      throw new Problem('bad-signature', `The signature of ${key.name} on the note does not verify.`)
    }
    const read = key ? known : unknown
    read.push(signature)
  }
  if (known.length === 0) throw new Problem('bad-signature', 'No known key has signed the note.')
  return { text, signatures: known, unknown }
}

/** A note's text reaches to the last empty line. */
export const noteText = (note: string): string => note.slice(0, note.lastIndexOf('\n\n') + 1)

/** What follows the text are signature lines. */
function splitNote(note: string): { readonly text: string; readonly lines: readonly string[] } {
  const text = noteText(note)
  const lines = note.slice(text.length + 1).split('\n')
  const isNote = note.length <= limits.noteBytes && isNoteText(text) && lines.pop() === ''
  if (!isNote || lines.length === 0 || lines.length > limits.signaturesPerNote) {
    throw new Problem('bad-encoding', 'A note is a text, an empty line and signature lines.')
  }
  return { text, lines }
}

const isNoteText = (text: string): boolean =>
  text.endsWith('\n') &&
  text.isWellFormed() &&
  Array.from(text).every((character) => character >= ' ' || character === '\n')

function parseSignatureLine(line: string): NoteSignature {
  const [, name = '', encoded = ''] = SIGNATURE_LINE.exec(line) ?? []
  const bytes = base64(encoded)
  if (!KEY_NAME.test(name) || bytes === undefined || bytes.length <= KEY_ID_BYTES) {
    throw new Problem('bad-encoding', 'A signature line is a dash, the name of a key and a signature in base64.')
  }
  return { name, id: uint32(bytes), signature: bytes.slice(KEY_ID_BYTES) }
}

const uint32 = (bytes: Bytes): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** Signature lines as a witness answers them, each with its newline. @throws Problem `bad-encoding` */
export function parseSignatureLines(text: string): NoteSignature[] {
  const lines = text.split('\n')
  if (lines.pop() !== '' || lines.length > limits.signaturesPerNote)
    throw new Problem('bad-encoding', 'Signature lines end with a newline each.')
  return lines.map(parseSignatureLine)
}

/** Standard base64 with padding (RFC 4648 §4), in its canonical form; undefined for anything else. */
export function base64(text: string): Bytes | undefined {
  const bytes = decodeBase64(text)
  return encodeBase64(bytes) === text ? bytes : undefined
}
