/**
 * The state root: a hash of a set of items that an item is put into and taken out of at a cost that does not depend on
 * how many there are. Each item is expanded to 1024 numbers of 16 bits; the sum of the expansions over all items, number
 * by number and modulo 2^16, is hashed (LtHash with n = 1024, d = 16: Bellare and Micciancio 1997; Lewi, Kim, Maykov
 * and Weis 2019).
 */
import { sha256, shake256 } from '#primitives'
import { concat, utf8, type Bytes } from '../bytes.ts'
import type { Key } from './view.ts'

/** One item of the state. */
export interface StateItem extends Key {
  readonly body: Bytes
}

export const STATE_SUM_BYTES = 2048
const NUMBERS = STATE_SUM_BYTES / 2

/** The sum over a set of items. */
export interface StateSum {
  add(item: StateItem): void
  remove(item: StateItem): void
  /** 32 bytes. */
  root(): Bytes
  /** The sum itself, to go on from later: 1024 little-endian uint16. */
  bytes(): Bytes
}

/** @param from a sum's bytes; that of no items unless given */
export function createStateSum(from: Bytes = new Uint8Array(STATE_SUM_BYTES)): StateSum {
  const sum = new Uint16Array(NUMBERS)
  const start = numbersOf(from)
  for (let i = 0; i < NUMBERS; i++) sum[i] = start.getUint16(2 * i, true)

  const bytes = (): Bytes => {
    const written = new DataView(new ArrayBuffer(STATE_SUM_BYTES))
    for (let i = 0; i < NUMBERS; i++) written.setUint16(2 * i, sum[i] as number, true)
    return new Uint8Array(written.buffer)
  }

  return {
    add(item) {
      const numbers = expand(item)
      for (let i = 0; i < NUMBERS; i++) sum[i] = (sum[i] as number) + numbers.getUint16(2 * i, true)
    },
    remove(item) {
      const numbers = expand(item)
      for (let i = 0; i < NUMBERS; i++) sum[i] = (sum[i] as number) - numbers.getUint16(2 * i, true)
    },
    root: () => sha256(bytes()),
    bytes,
  }
}

const expand = ({ pk, sk, body }: StateItem): DataView =>
  numbersOf(shake256(concat(utf8(`${pk}\0${sk}\0`), body), STATE_SUM_BYTES))

const numbersOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** The root of all of them, in any order. */
export function stateRoot(items: Iterable<StateItem>): Bytes {
  const sum = createStateSum()
  for (const item of items) sum.add(item)
  return sum.root()
}
