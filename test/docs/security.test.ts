/** The tests that SECURITY.md names are there. */
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { readPage, ROOT } from './page.ts'

const { text } = readPage('docs/SECURITY.md')
const named = Array.from(text.matchAll(/\]\((\.\.\/test\/[^)]+)\): \*([^*]+)\*/g), ([, file = '', name = '']) => ({
  file: posix.join('docs', file),
  name,
}))

test('every test that SECURITY.md names exists', () => {
  const missing = named.filter(({ file, name }) => !definitionsIn(file).some((defined) => defined.startsWith(name)))
  expect(missing).toEqual([])
  expect(named.length).toBeGreaterThan(60)
})

test('every attack has an outcome, and a test', () => {
  const rows = Array.from(text.matchAll(/^\| (.*) \| (.*) \| (.*) \|$/gm)).filter(([line]) => line.includes('../test/'))
  const tables = Array.from(
    text.matchAll(/^\| attack \| outcome \| test \|\n\|[-|]+\|\n((?:\|.*\n)+)/gm),
    ([, body = '']) => body.trim().split('\n'),
  )
  expect(tables.flat().length).toBe(rows.length)
})

/** The names of tests in a file; parameters stand at their ends. */
const definitionsIn = (file: string): string[] =>
  Array.from(
    readFileSync(join(ROOT, file), 'utf8').matchAll(/\b(?:test|it)(?:\.each)?\b[\s\S]*?\(\s*'([^'\n]*)'/g),
    ([, name = '']) => name,
  )
