import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPicker } from '../../agent/download/picker.ts'
import { emptyBitfield, fullBitfield, hasPiece, setPiece } from '../../protocol/bitfield.ts'

const bits = (pieces: number, held: readonly number[]) => {
  const bitfield = emptyBitfield(pieces)
  for (const piece of held) setPiece(bitfield, piece)
  return bitfield
}
const none = () => false

describe('picker', () => {
  it('asks for the rarest piece first', () => {
    const picker = createPicker({ pieces: 4, isDone: none, seed: 1 })
    picker.offer('a', fullBitfield(4))
    picker.offer('b', bits(4, [0, 1, 3]))
    picker.offer('c', bits(4, [0, 3]))
    expect(picker.pick('a')).toBe(2)
    expect(picker.pick('a')).toBe(1)
    expect(new Set([picker.pick('c'), picker.pick('c')])).toEqual(new Set([0, 3]))
  })

  it('breaks ties by its seed, and alike for the same seed', () => {
    const order = (seed: number) => {
      const picker = createPicker({ pieces: 64, isDone: none, seed })
      picker.offer('a', fullBitfield(64))
      return Array.from({ length: 64 }, () => picker.pick('a'))
    }
    expect(order(7)).toEqual(order(7))
    expect(order(7)).not.toEqual(order(8))
    expect(order(7).toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 64 }, (_, i) => i))
  })

  it('asks a seller only for what it has, and nobody for what is done', () => {
    const picker = createPicker({ pieces: 8, isDone: (piece) => piece % 2 === 0, seed: 3 })
    picker.offer('a', bits(8, [0, 1, 2, 3]))
    expect(new Set([picker.pick('a'), picker.pick('a')])).toEqual(new Set([1, 3]))
    expect(picker.pick('a')).toBeUndefined()
    expect(picker.pick('unknown')).toBeUndefined()
    expect(picker.open).toBe(2)
    expect(picker.left).toBe(4)
  })

  it('offers a piece again that was given back', () => {
    const picker = createPicker({ pieces: 2, isDone: none, seed: 1 })
    picker.offer('slow', fullBitfield(2))
    picker.offer('fast', fullBitfield(2))
    const piece = picker.pick('slow') as number
    picker.done(picker.pick('fast') as number)
    expect(picker.serves('fast')).toBe(false)
    picker.giveBack(piece)
    expect(picker.serves('fast')).toBe(true)
    expect(picker.pick('fast')).toBe(piece)
  })

  it('offers each piece again that was given back late, whatever the others have', () => {
    const picker = createPicker({ pieces: 16, isDone: none, seed: 1 })
    picker.offer('a', fullBitfield(16))
    picker.offer('b', bits(16, [0, 2, 3, 5, 11]))
    for (const piece of Array.from({ length: 16 }, () => picker.pick('a') as number).toReversed()) {
      picker.giveBack(piece)
      expect(picker.pick('a')).toBe(piece)
    }
  })

  it('goes in order, and no further than it may, where a storage takes pieces so', () => {
    let end = 3
    const picker = createPicker({ pieces: 5, isDone: none, seed: 1, mayTake: (piece) => piece < end })
    picker.offer('a', fullBitfield(5))
    picker.offer('b', bits(5, [0, 1, 2, 3]))
    expect(Array.from({ length: 4 }, () => picker.pick('a'))).toEqual([0, 1, 2, undefined])
    end = 5
    expect([picker.pick('a'), picker.pick('a')]).toEqual([3, 4])
  })

  it('counts a piece once that is done, whether or not it was asked for', () => {
    const picker = createPicker({ pieces: 3, isDone: none, seed: 1 })
    for (let times = 0; times < 2; times++) picker.done(1)
    expect([picker.open, picker.left]).toEqual([2, 2])
    picker.take(0)
    expect([picker.open, picker.left]).toEqual([1, 2])
  })

  it('takes a very piece only while it is open', () => {
    const picker = createPicker({ pieces: 3, isDone: none, seed: 1 })
    picker.offer('a', fullBitfield(3))
    expect(picker.take(1)).toBe(true)
    expect(picker.take(1)).toBe(false)
    expect(picker.pick('a')).not.toBe(1)
    picker.done(1)
    picker.giveBack(1)
    expect(picker.isOpen(1)).toBe(false)
    expect(picker.left).toBe(2)
  })

  it('fetches a lost piece again', () => {
    const picker = createPicker({ pieces: 1, isDone: () => true, seed: 1 })
    picker.offer('a', fullBitfield(1))
    expect(picker.left).toBe(0)
    picker.reopen(0)
    expect(picker.pick('a')).toBe(0)
    picker.reopen(0)
    expect(picker.left).toBe(1)
  })

  const swarm = fc.record({
    pieces: fc.integer({ min: 1, max: 40 }),
    seed: fc.nat(),
    held: fc.array(fc.array(fc.nat(39)), { minLength: 1, maxLength: 5 }),
    moves: fc.array(fc.record({ seller: fc.nat(4), what: fc.constantFrom('done', 'giveBack', 'leave', 'offer') })),
  })

  it('asks for each piece of one seller at a time, and for every piece that some seller has', () => {
    fc.assert(
      fc.property(swarm, ({ pieces, seed, held, moves }) => {
        const picker = createPicker({ pieces, isDone: none, seed })
        const bitfields = held.map((list) =>
          bits(
            pieces,
            list.filter((piece) => piece < pieces),
          ),
        )
        const asked = new Map<number, string>()
        bitfields.forEach((bitfield, i) => picker.offer(String(i), bitfield))
        for (const { seller, what } of moves) {
          const id = String(seller % held.length)
          const bitfield = bitfields[seller % held.length] as Uint8Array
          if (what === 'leave') picker.leave(id)
          if (what === 'offer') picker.offer(id, bitfield)
          const piece = picker.pick(id)
          if (piece === undefined) continue
          expect(asked.has(piece)).toBe(false)
          expect(hasPiece(bitfield, piece)).toBe(true)
          if (what === 'giveBack') picker.giveBack(piece)
          else asked.set(piece, id)
          if (what === 'done') picker.done(piece)
        }
        bitfields.forEach((bitfield, i) => picker.offer(String(i), bitfield))
        for (const [i] of bitfields.entries()) {
          for (let piece = picker.pick(String(i)); piece !== undefined; piece = picker.pick(String(i))) {
            expect(asked.has(piece)).toBe(false)
            asked.set(piece, String(i))
          }
        }
        const somewhere = Array.from({ length: pieces }, (_, piece) =>
          bitfields.some((bitfield) => hasPiece(bitfield, piece)),
        )
        expect(asked.size).toBe(somewhere.filter(Boolean).length)
        expect(picker.open).toBe(pieces - asked.size)
      }),
    )
  })
})
