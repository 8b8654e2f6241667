/** The tables of limits and problem codes are whole and right. */
import { expect, test } from 'vitest'
import { PROBLEMS } from '../../protocol/problem.ts'
import { readPage, readPages } from './page.ts'
import { limitTexts } from './tables.ts'

/** Rows of all tables of a page whose first cell is `code`, without the ticks. */
const rowsOf = (path: string): string[][] =>
  readPage(path)
    .text.split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    )

test('every limit is stated, with its value', () => {
  const stated = rowsOf('docs/protocol/limits.md').map(([name = '', value = '']) => [name, value] as const)
  expect(Object.fromEntries(stated)).toEqual(limitTexts())
  expect(stated.length).toBe(Object.keys(limitTexts()).length)
})

test('every problem code is listed, with its status and title', () => {
  const listed = rowsOf('docs/protocol/problems.md').filter(([, status = '']) => /^\d{3}$/.test(status))
  const expected = Object.entries(PROBLEMS).map(([code, [status, title]]) => [code, String(status), title])
  expect(listed.map((row) => row.slice(0, 3))).toEqual(expected)
})

test('every kind of signed object is named', () => {
  const [, type = ''] = /^export type Kind =\n((?: {2}\| '\w+'\n)+)/m.exec(readPage('protocol/signed.ts').text) ?? []
  const [, kinds = ''] = /^Kinds: ([^.]+)\./m.exec(readPage('docs/PROTOCOL.md').text) ?? []
  const named = Array.from(kinds.matchAll(/`(\w+)`/g), ([, kind]) => kind)
  expect(named).toEqual(Array.from(type.matchAll(/'(\w+)'/g), ([, kind]) => kind))
  expect(named.length).toBeGreaterThan(20)
})

test('tables of errors name codes that there are', () => {
  const unknown = readPages().flatMap(({ path, text }) => {
    const tables = text.matchAll(/^\| code \| when \|\n\|[-|]+\|\n((?:\|.*\n)+)/gm)
    const cells = Array.from(tables, ([, rows = '']) => rows.split('\n').map((row) => row.split('|')[1] ?? '')).flat()
    const codes = cells.flatMap((cell) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, code = '']) => code))
    return codes.filter((code) => !Object.hasOwn(PROBLEMS, code)).map((code) => `${path}: ${code}`)
  })
  expect(unknown).toEqual([])
})
