/**
 * Which piece to ask a seller for: the rarest first, ties broken by a seeded shuffle. Pure: the same calls with the same
 * seed give the same picks. Each piece is in one state: open, asked for (of one seller), or done.
 */
import { hasPiece } from '../../protocol/bitfield.ts'
import { equal } from '../../protocol/bytes.ts'

export interface Picker {
  /** Pieces that are not done. */
  readonly left: number
  /** Pieces that are neither done nor asked for. */
  readonly open: number
  /** A seller joins, or what it has changes. @param bitfield BEP 3 order */
  offer(seller: string, bitfield: Uint8Array): void
  leave(seller: string): void
  /** The rarest open piece that the seller has; it is asked for from now on. */
  pick(seller: string): number | undefined
  /** Asks for this very piece. @returns false unless it was open */
  take(piece: number): boolean
  /** The piece that was asked for did not come. */
  giveBack(piece: number): void
  done(piece: number): void
  /** The piece was done and is lost. */
  reopen(piece: number): void
  isOpen(piece: number): boolean
  has(seller: string, piece: number): boolean
  /** Whether `pick` would find a piece now. */
  serves(seller: string): boolean
}

export interface PickerOptions {
  readonly pieces: number
  readonly isDone: (piece: number) => boolean
  readonly seed: number
  /** Pieces go in order, and only those that this allows: for storages that take them so. Neighbours become allowed together. */
  readonly mayTake?: ((piece: number) => boolean) | undefined
}

const NOTHING = new Uint8Array(0)
const OPEN = 0
const ASKED = 1
const DONE = 2

interface Seller {
  bitfield: Uint8Array
  /** No open piece of this seller lies before this place of the order. */
  cursor: number
}

export function createPicker({ pieces, isDone, seed, mayTake }: PickerOptions): Picker {
  const states = new Uint8Array(pieces)
  const shuffled = mayTake ? Uint32Array.from({ length: pieces }, (_, i) => i) : shuffle(pieces, seed)
  const sellers = new Map<string, Seller>()
  let order = shuffled
  let places = placesOf(order)
  let ordered = true
  let open = 0
  let asked = 0
  for (let piece = 0; piece < pieces; piece++) {
    if (isDone(piece)) states[piece] = DONE
    else open++
  }

  function sort(): void {
    if (ordered) return
    const bitfields = Array.from(sellers.values(), (seller) => seller.bitfield)
    order = mayTake ? shuffled : rarestFirst(shuffled, bitfields)
    places = placesOf(order)
    for (const seller of sellers.values()) seller.cursor = 0
    ordered = true
  }

  /** Moves the cursor to the seller's next open piece; each place is passed once until a piece is given back. */
  function next(id: string): number | undefined {
    sort()
    const seller = sellers.get(id)
    if (!seller) return undefined
    for (; seller.cursor < pieces; seller.cursor++) {
      const piece = order[seller.cursor] as number
      if (states[piece] === OPEN && hasPiece(seller.bitfield, piece))
        return !mayTake || mayTake(piece) ? piece : undefined
    }
    return undefined
  }

  function release(piece: number): void {
    states[piece] = OPEN
    open++
    const place = places[piece] as number
    for (const seller of sellers.values()) seller.cursor = Math.min(seller.cursor, place)
  }

  function take(piece: number): boolean {
    if (states[piece] !== OPEN) return false
    states[piece] = ASKED
    open--
    asked++
    return true
  }

  return {
    get left() {
      return open + asked
    },
    get open() {
      return open
    },
    offer(id, bitfield) {
      const known = sellers.get(id)?.bitfield
      if (known && equal(known, bitfield)) return
      sellers.set(id, { bitfield, cursor: 0 })
      ordered = false
    },
    leave(id) {
      if (sellers.delete(id)) ordered = false
    },
    pick(id) {
      const piece = next(id)
      if (piece !== undefined) take(piece)
      return piece
    },
    take,
    giveBack(piece) {
      if (states[piece] !== ASKED) return
      asked--
      release(piece)
    },
    done(piece) {
      if (states[piece] === DONE) return
      if (states[piece] === ASKED) asked--
      else open--
      states[piece] = DONE
    },
    reopen(piece) {
      if (states[piece] === DONE) release(piece)
    },
    isOpen: (piece) => states[piece] === OPEN,
    has: (id, piece) => hasPiece(sellers.get(id)?.bitfield ?? NOTHING, piece),
    serves: (id) => next(id) !== undefined,
  }
}

/** By the number of holders; pieces as rare as each other keep their shuffled order. */
function rarestFirst(shuffled: Uint32Array, bitfields: readonly Uint8Array[]): Uint32Array {
  const byHolders: number[][] = []
  for (const piece of shuffled) {
    const holders = bitfields.reduce((count, bitfield) => count + (hasPiece(bitfield, piece) ? 1 : 0), 0)
    byHolders[holders] ??= []
    byHolders[holders].push(piece)
  }
  return Uint32Array.from(byHolders.flat())
}

function placesOf(order: Uint32Array): Uint32Array {
  const places = new Uint32Array(order.length)
  order.forEach((piece, place) => (places[piece] = place))
  return places
}

/** Fisher-Yates over a xorshift32 sequence: unpredictability is not asked of it, only that it spreads. */
function shuffle(length: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i)
  let state = seed >>> 0 || 1
  for (let i = length - 1; i > 0; i--) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    const j = state % (i + 1)
    const kept = order[i] as number
    order[i] = order[j] as number
    order[j] = kept
  }
  return order
}
