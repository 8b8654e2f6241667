/** The info dictionary for whoever has a magnet link alone: `ut_metadata` (BEP 9), an extension by BEP 10. */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { decode, encode, field, fields, type Fields, type Shape } from '../../protocol/encoding.ts'
import { Problem } from '../../protocol/problem.ts'

export const UT_METADATA = 'ut_metadata'

const CHUNK_BYTES = 16 * 1024
const REQUEST = 0
const DATA = 1
const REJECT = 2
const requestShape = { msg_type: field.integer(), piece: field.integer() }
const handshakeShape = { m: field.dict({ [UT_METADATA]: field.integer({ max: 255 }) }, { rest: true }) }

/** The other side's number for it; 0 switches it off. @returns undefined for a handshake that does not tell */
export const metadataNumberIn = (handshake: Uint8Array): number | undefined =>
  read(handshake, handshakeShape)?.m[UT_METADATA]

/** @returns undefined for what is not a request */
export function requestedChunk(message: Uint8Array): number | undefined {
  const request = read(message, requestShape)
  return request?.msg_type === REQUEST ? request.piece : undefined
}

export function metadataReply(info: Bytes, piece: number): Bytes {
  const chunk = info.slice(piece * CHUNK_BYTES, (piece + 1) * CHUNK_BYTES)
  if (chunk.length === 0) return encode({ msg_type: REJECT, piece })
  return concat(encode({ msg_type: DATA, piece, total_size: info.length }), chunk)
}

function read<S extends Shape>(message: Uint8Array, shape: S): Fields<S> | undefined {
  try {
    return fields(decode(message), shape, { rest: true })
  } catch (error) {
    if (error instanceof Problem) return undefined
    throw error
  }
}
