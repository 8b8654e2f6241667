/** Numbers names from 0 in the order of their first appearance, straight from bytes: no text is made for a name that was seen. */
import { fromUtf8, utf8 } from '../../protocol/bytes.ts'

export interface NameTable {
  readonly size: number
  /** The number of the name at `bytes[from]` to before `bytes[to]`. */
  number(bytes: Uint8Array, from: number, to: number): number
  find(name: string): number | undefined
  /** @throws Problem `bad-encoding` when the name was not UTF-8 */
  nameOf(number: number): string
}

/** Of FNV with 32 bits. */
const OFFSET_BASIS = 0x811c9dc5
const PRIME = 0x01000193

export function createNameTable(): NameTable {
  let arena = new Uint8Array(1 << 16)
  /** Name `i` is `arena[ends[i]]` to before `arena[ends[i + 1]]`. */
  let ends = new Uint32Array(1 << 12)
  /** Open addressing, at most half full: pairs of a name's number + 1 (0 is free) and its hash, which spares looks at other names. */
  let slots = new Int32Array(1 << 13)
  let size = 0

  const isName = (number: number, bytes: Uint8Array, from: number, to: number): boolean => {
    const start = ends[number] as number
    if ((ends[number + 1] as number) - start !== to - from) return false
    for (let i = 0; i < to - from; i++) if (arena[start + i] !== bytes[from + i]) return false
    return true
  }

  /** The slot of the name, or the free one where it would be. */
  const slotOf = (hash: number, bytes: Uint8Array, from: number, to: number): number => {
    const mask = slots.length - 2
    let slot = (hash << 1) & mask
    while (slots[slot] !== 0 && !(slots[slot + 1] === hash && isName((slots[slot] as number) - 1, bytes, from, to))) {
      slot = (slot + 2) & mask
    }
    return slot
  }

  const add = (bytes: Uint8Array, from: number, to: number): number => {
    const start = ends[size] as number
    const end = start + to - from
    arena = grown(arena, end)
    ends = grown(ends, size + 2)
    arena.set(bytes.subarray(from, to), start)
    ends[size + 1] = end
    return size++
  }

  const put = (slot: number, number: number, hash: number): void => {
    slots[slot] = number + 1
    slots[slot + 1] = hash
  }

  const rehash = (): void => {
    slots = new Int32Array(slots.length * 2)
    for (let i = 0; i < size; i++) {
      const [from, to] = [ends[i] as number, ends[i + 1] as number]
      const hash = hashOf(arena, from, to)
      put(slotOf(hash, arena, from, to), i, hash)
    }
  }

  return {
    get size() {
      return size
    },
    number(bytes, from, to) {
      const hash = hashOf(bytes, from, to)
      const slot = slotOf(hash, bytes, from, to)
      if (slots[slot] !== 0) return (slots[slot] as number) - 1
      put(slot, add(bytes, from, to), hash)
      if (size * 4 > slots.length) rehash()
      return size - 1
    },
    find(name) {
      const bytes = utf8(name)
      const number = slots[slotOf(hashOf(bytes, 0, bytes.length), bytes, 0, bytes.length)] as number
      return number === 0 ? undefined : number - 1
    },
    nameOf: (number) => fromUtf8(arena.subarray(ends[number], ends[number + 1])),
  }
}

/** FNV-1a; its low bits see little of the last bytes, so the high ones are mixed in. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = OFFSET_BASIS
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] as number), PRIME)
  return hash ^ (hash >>> 15)
}

/** The array, or a copy of at least twice its length, so that `length` elements fit. */
export function grown<T extends Uint8Array | Uint32Array>(array: T, length: number): T {
  if (length <= array.length) return array
  const larger = new (array.constructor as new (length: number) => T)(Math.max(length, array.length * 2))
  larger.set(array)
  return larger
}
