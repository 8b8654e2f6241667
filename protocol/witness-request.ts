/**
 * What a log asks a witness (C2SP tlog-witness, `add-checkpoint`): the size that the witness is thought to have cosigned
 * last, the consistency proof from there, and the checkpoint.
 *
 * @example
 * old 20852014
 * PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
 * jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
 *
 * example.com/behind-the-sofa
 * 20852163
 * CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
 *
 * — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
 */
import { encodeBase64 } from '#primitives'
import type { Bytes } from './bytes.ts'
import { base64 } from './checkpoint.ts'
import { HASH_BYTES } from './merkle.ts'
import { Problem } from './problem.ts'

export interface AddCheckpoint {
  readonly oldSize: number
  /** RFC 6962 §2.1.2, from the old size to the checkpoint's. */
  readonly proof: readonly Bytes[]
  /** The checkpoint, a signed note. */
  readonly note: string
}

/** Of the answer to an old size that is another: the size, and a newline. */
export const SIZE_TYPE = 'text/x.tlog.size'

const PROOF_LINES_MAX = 63
const OLD_SIZE = /^old (0|[1-9]\d{0,15})$/
const SIZE = /^(0|[1-9]\d{0,15})\n$/

export const formatAddCheckpoint = ({ oldSize, proof, note }: AddCheckpoint): string =>
  [`old ${oldSize}`, ...proof.map(encodeBase64), '', note].join('\n')

/** The note is handed on as it is. @throws Problem `bad-encoding` */
export function parseAddCheckpoint(text: string): AddCheckpoint {
  const end = text.indexOf('\n\n')
  const [first = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\n')
  const [, size] = OLD_SIZE.exec(first) ?? []
  const proof = lines.map(base64)
  if (end < 0 || !Number.isSafeInteger(Number(size)) || lines.length > PROOF_LINES_MAX || !proof.every(isHash))
    throw new Problem('bad-encoding', 'A request is an old size, hashes of a proof, an empty line and a checkpoint.')
  return { oldSize: Number(size), proof, note: text.slice(end + 2) }
}

const isHash = (hash: Bytes | undefined): hash is Bytes => hash?.length === HASH_BYTES

/** The size in an answer of the type `SIZE_TYPE`. @throws Problem `bad-encoding` */
export function parseSize(text: string): number {
  const size = Number(SIZE.exec(text)?.[1])
  if (!Number.isSafeInteger(size)) throw new Problem('bad-encoding', 'The size of a log is a decimal number.')
  return size
}
