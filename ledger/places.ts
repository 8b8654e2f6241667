/** Names of places in the store. */
import { field, type Fields } from '../protocol/encoding.ts'

/** With the digits of every safe integer, keys sort like numbers. */
export const sortable = (value: number): string => String(value).padStart(16, '0')

export const slotShape = { lane: field.bytes(32), seq: field.integer() }
/** The place of one change of a lane, counted from 1. */
export type Slot = Fields<typeof slotShape>
