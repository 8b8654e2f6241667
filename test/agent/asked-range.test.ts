import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { askedRange } from '../../agent/api/asked-range.ts'

describe('a range that is asked for', () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=2-4', { offset: 2, length: 3 }],
    ['bytes=2-', { offset: 2, length: 8 }],
    ['bytes=9-', { offset: 9, length: 1 }],
    ['bytes=2-99999999999999999999', { offset: 2, length: 8 }],
    ['bytes=-3', { offset: 7, length: 3 }],
    ['bytes=-10', { offset: 0, length: 10 }],
    ['bytes=-11', { offset: 0, length: 10 }],
    ['Bytes= 2-4 ', { offset: 2, length: 3 }],
  ])('%s of ten bytes is found', (header, range) => expect(askedRange(header, 10)).toEqual(range))

  it.each(['bytes=10-', 'bytes=10-12', 'bytes=-0', `bytes=${'9'.repeat(400)}-`])('%s of ten bytes has none', (header) =>
    expect(askedRange(header, 10)).toBe('unsatisfiable'),
  )

  it.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=4-2',
    'bytes=a-b',
    'bytes=1.5-2',
    'bytes=--1',
    'lines=0-1',
  ])('%s is none', (header) => expect(askedRange(header, 10)).toBeUndefined())

  it.each(['bytes=0-1,3-4', 'bytes=0-1, -1'])('%s, of several parts, is none', (header) =>
    expect(askedRange(header, 10)).toBeUndefined(),
  )

  it('of an empty file is none, or has no byte', () => {
    expect(askedRange('bytes=0-', 0)).toBe('unsatisfiable')
    expect(askedRange('bytes=-5', 0)).toBeUndefined()
  })

  it('lies in the file, whatever is asked', () =>
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d{0,20}-\d{0,20}$/)), fc.nat(), (header, size) => {
        const range = askedRange(header, size)
        if (range === undefined || range === 'unsatisfiable') return true
        return range.offset >= 0 && range.length > 0 && range.offset + range.length <= size
      }),
    ))
})
