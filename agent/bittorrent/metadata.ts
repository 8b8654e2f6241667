/** The info dictionary for whoever has a magnet link alone: `ut_metadata` (BEP 9). */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { decode, encode, field, fields } from '../../protocol/encoding.ts'
import { Problem } from '../../protocol/problem.ts'

export const UT_METADATA = 'ut_metadata'

const CHUNK_BYTES = 16 * 1024
const REQUEST = 0
const DATA = 1
const REJECT = 2
const shape = { msg_type: field.integer(), piece: field.integer() }

/** @returns undefined for what is not a request */
export function metadataReply(info: Bytes, message: Uint8Array): Bytes | undefined {
  const piece = requestIn(message)
  if (piece === undefined) return undefined
  const chunk = info.slice(piece * CHUNK_BYTES, (piece + 1) * CHUNK_BYTES)
  if (chunk.length === 0) return encode({ msg_type: REJECT, piece })
  return concat(encode({ msg_type: DATA, piece, total_size: info.length }), chunk)
}

function requestIn(message: Uint8Array): number | undefined {
  try {
    const { msg_type: type, piece } = fields(decode(message), shape, { rest: true })
    return type === REQUEST ? piece : undefined
  } catch (error) {
    if (error instanceof Problem) return undefined
    throw error
  }
}
