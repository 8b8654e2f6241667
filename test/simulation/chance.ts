/** The chance of a simulated world: SHAKE256 over the seed, in streams that do not disturb each other. */
import { createHash } from 'node:crypto'
import type { Bytes } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'

export interface Chance extends Random {
  /** From 0 (inclusive) to 1. */
  fraction(): number
  /** From `least` to `most`, both possible. */
  integer(least: number, most: number): number
  /** Whether something of this probability happens. */
  hits(probability: number): boolean
  pick<T>(from: readonly T[]): T
  shuffle<T>(items: readonly T[]): T[]
  /** A stream of its own: one part that draws more does not change what another draws. */
  fork(name: string): Chance
}

const POOL_BYTES = 2048

export function createChance(seed: string): Chance {
  let counter = 0
  let pool = Buffer.alloc(0)

  function bytes(length: number): Bytes {
    if (length > POOL_BYTES) return stretch(`${seed}#${counter++}`, length)
    if (pool.length < length) pool = Buffer.from(stretch(`${seed}#${counter++}`, POOL_BYTES))
    const drawn = new Uint8Array(pool.subarray(0, length))
    pool = pool.subarray(length)
    return drawn
  }

  const fraction = () => new DataView(bytes(4).buffer).getUint32(0) / 2 ** 32
  const integer = (least: number, most: number) => least + Math.floor(fraction() * (most - least + 1))

  function shuffle<T>(items: readonly T[]): T[] {
    const left = [...items]
    return items.map(() => left.splice(integer(0, left.length - 1), 1)[0] as T)
  }

  return {
    bytes,
    fraction,
    integer,
    shuffle,
    hits: (probability) => fraction() < probability,
    pick: <T>(from: readonly T[]) => from[integer(0, from.length - 1)] as T,
    fork: (name) => createChance(`${seed}/${name}`),
  }
}

const stretch = (seed: string, length: number): Bytes =>
  new Uint8Array(createHash('shake256', { outputLength: length }).update(seed).digest())
