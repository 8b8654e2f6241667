import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { sizes } from './rules.ts'
import { factsOf, readSources } from './source.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const violations = (text: string) => sizes(factsOf({ path: 'agent/sell.ts', text }))
const lines = (count: number) => 'a()\n'.repeat(count)

test('no file is longer than 400 lines, no function longer than 70', () => {
  expect(readSources(root).map(factsOf).flatMap(sizes)).toEqual([])
})

describe('the rule about sizes', () => {
  test('counts the lines of a file', () => {
    expect(violations(lines(400))).toEqual([])
    expect(violations(lines(401))).toEqual(['agent/sell.ts has 401 lines'])
  })

  test.each([
    ['a function', (body: string) => `function f() {\n${body}}\n`],
    ['an arrow', (body: string) => `const f = async () => {\n${body}}\n`],
    ['a method', (body: string) => `const o = { f() {\n${body}} }\n`],
    ['a function inside another', (body: string) => `const g = () => 1; { const f = function () {\n${body}} }\n`],
    ['a callback', (body: string) => `test('x', () => {\n${body}})\n`],
  ])('counts the lines of %s', (_, wrap) => {
    expect(violations(wrap(lines(68)))).toEqual([])
    expect(violations(`b()\n${wrap(lines(69))}`)).toEqual(['agent/sell.ts:2 has a function of 71 lines'])
  })

  test('counts a function inside another for itself', () => {
    const inner = `const g = () => {\n${lines(60)}}\n`
    expect(violations(`function f() {\n${inner}${inner}}\n`)).toEqual([])
    expect(violations(`function f() {\n${inner}${lines(68)}}\n`)).toEqual([
      'agent/sell.ts:1 has a function of 71 lines',
    ])
  })

  test('does not take a group of tests for one function', () => {
    expect(
      violations(`describe('x', () => {\n${lines(90)}})\ndescribe.each([1])('x', () => {\n${lines(90)}})\n`),
    ).toEqual([])
  })
})
