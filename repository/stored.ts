/** Signed objects within stored items. */
import { field } from '../protocol/encoding.ts'

export const envelopeField = field.dict({ body: field.bytes(), key: field.bytes(32), signature: field.bytes(64) })
