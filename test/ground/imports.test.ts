import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { barrels, escapes, imports, world, type Rule } from './rules.ts'
import { factsOf, readSources } from './source.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const facts = readSources(root).map(factsOf)
const violations = (rule: Rule, path: string, text: string) => rule(factsOf({ path, text }))

/** In pieces, so that this file does not break the rule itself. */
const comment = (checker: string, word: string) => `// ${checker}-${word}`

describe('every source file', () => {
  test('imports only what it may', () => expect(facts.flatMap(imports)).toEqual([]))
  test('is handed time, randomness, network and settings', () => expect(facts.flatMap(world)).toEqual([]))
  test('declares what it exports', () => expect(facts.flatMap(barrels)).toEqual([]))
  test('uses no any and silences no checker', () => expect(facts.flatMap(escapes)).toEqual([]))
  test('was looked at', () => expect(facts.length).toBeGreaterThan(20))
})

describe('the import rule', () => {
  test.each([
    ['ledger/app.ts', `import { a } from '../agent/sell.ts'`],
    ['agent/sell.ts', `import type { A } from '../ledger/app.ts'`],
    ['agent/sell.ts', `import '../repository/app.ts'`],
    ['agent/sell.ts', `export { a } from '../repository/app.ts'`],
    ['agent/sell.ts', `const late = async () => await import('../ledger/app.ts')`],
    ['agent/sell.ts', `let a: import('../ledger/app.ts').A`],
    ['agent/sell.ts', `const late = async (name: string) => await import(name)`],
    ['agent/storage/folder.ts', `import { a } from '../../infra/environment.ts'`],
    ['ledger/app.ts', `import { openStore } from '../infra/store/open.ts'`],
    ['protocol/bytes.ts', `import { a } from '../ledger/app.ts'`],
    ['protocol/bytes.ts', `import { a } from '../test/ground/rules.ts'`],
    ['infra/local/network.ts', `import { a } from '../../test/ground/rules.ts'`],
    ['agent/sell.ts', `import { a } from '../../elsewhere/a.ts'`],
    ['agent/sell.ts', `import { a } from './share'`],
    ['agent/sell.ts', `import /* why */ {\n  a } from /* '../protocol/a.ts' */ '../ledger/app.ts'`],
    ['protocol/bytes.ts', `import { readFile } from 'node:fs/promises'`],
    ['protocol/bytes.ts', `import { sha256 } from '@noble/hashes/sha2.js'`],
    ['protocol/signed.ts', `import { randomBytes } from 'node:crypto'`],
    ['ledger/app.ts', `import { readFile } from 'node:fs/promises'`],
    ['agent/sell.ts', `import { randomBytes } from 'node:crypto'`],
    ['agent/sell.ts', `import { setTimeout } from 'node:timers/promises'`],
    ['agent/sell.ts', `import { env } from 'node:process'`],
    ['agent/sell.ts', `import { google } from 'googleapis'`],
    ['agent/sell.ts', `import { serve } from '@hono/node-server'`],
    ['ledger/app.ts', `import { DynamoDBClient } from '@aws-sdk/client-dynamodb'`],
    ['infra/local/network.ts', `import { test } from 'vitest'`],
  ])('catches in %s: %s', (path, text) => expect(violations(imports, path, text)).toHaveLength(1))

  test.each([
    ['ledger/app.ts', `import { a } from '../protocol/bytes.ts'; import { b } from './sequencer.ts'`],
    ['ledger/node.ts', `import { openStore } from '../infra/store/open.ts'; import { join } from 'node:path'`],
    ['agent/cli/main.ts', `import { realEnvironment } from '../../infra/environment.ts'`],
    ['agent/storage/s3.ts', `import { S3Client } from '@aws-sdk/client-s3'`],
    ['infra/local/network.ts', `import { a } from '../../agent/agent.ts'; import { b } from '../../ledger/ledger.ts'`],
    ['test/agent/sell.test.ts', `import { a } from '../../ledger/app.ts'; import { test } from 'vitest'`],
    ['agent/sell.ts', `// import { a } from '../ledger/app.ts'\nconst text = "import { a } from '../ledger/app.ts'"`],
    ['agent/sell.ts', 'const text = `${"`"} import("../ledger/app.ts") ${1}`; const quote = /[\'"]/ // it\'s'],
  ])('lets pass in %s: %s', (path, text) => expect(violations(imports, path, text)).toEqual([]))
})

describe('the rule about the world', () => {
  test.each([
    'const now = Date.now()',
    'const now = new Date()',
    'const now = Date()',
    'const clock = Date',
    'const now = performance.now()',
    'const dice = Math.random()',
    `const dice = Math['random']()`,
    'const { random } = Math',
    `const home = process.env['HOME']`,
    `const answer = await fetch('https://example.org/')`,
    'const transport = { fetch }',
    'setTimeout(() => undefined, 1)',
    'const timer: typeof setInterval = setInterval',
    `const home = globalThis.process.env['HOME']`,
    'const id = crypto.randomUUID()',
    'const signal = AbortSignal.timeout(5)',
    'const text = `at ${Date.now()}`',
    `const fs = require('node:fs')`,
  ])('catches: %s', (text) => {
    for (const path of ['agent/sell.ts', 'protocol/bytes.ts', 'infra/local/network.ts', 'test/simulation/network.ts']) {
      expect(violations(world, path, text)).toHaveLength(1)
    }
  })

  test.each([
    'const now = environment.clock.now()',
    'const dice = environment.random.bytes(1)',
    'const answer = await app.fetch(request)',
    'const server = { fetch: app.fetch, process: 1, Date: 2 }',
    'const parsed = Date.parse(text)',
    'const shown = new Date(ms).toISOString()',
    'const least = Math.min(1, 2)',
    'const either = AbortSignal.any([one, other])',
    'const text = "Date.now()" // Math.random()',
    'interface Clock { fetch(): Date; readonly performance: typeof fetch }',
  ])('lets pass: %s', (text) => expect(violations(world, 'agent/sell.ts', text)).toEqual([]))

  test.each([
    'agent/node.ts',
    'agent/cli/main.ts',
    'infra/local/main.ts',
    'infra/environment.ts',
    'test/agent/a.test.ts',
  ])('does not hold for %s', (path) => expect(violations(world, path, 'const now = Date.now()')).toEqual([]))
})

describe('the rule against barrels', () => {
  test.each([
    ['agent/index.ts', 'export const a = 1'],
    ['protocol/utils.ts', 'export const a = 1'],
    ['protocol/all.ts', `export { a } from './a.ts'\nexport { b } from './b.ts'`],
    ['protocol/all.ts', `import { a } from './a.ts'\nexport { a }`],
    ['protocol/all.ts', `export * from './a.ts'\nexport const b = 1`],
    ['protocol/all.ts', `export * as a from './a.ts'\nexport const b = 1`],
  ])('catches %s: %s', (path, text) => expect(violations(barrels, path, text)).toHaveLength(1))

  test('lets a file hand on a type of another beside its own', () => {
    expect(violations(barrels, 'protocol/a.ts', `export type { B } from './b.ts'\nexport const a = 1`)).toEqual([])
  })
})

describe('the rule against escapes', () => {
  test.each([
    'let a: any',
    'const a = b as any',
    'const a = (b: any[]) => b',
    comment('@ts', 'ignore'),
    comment('oxlint', 'disable'),
  ])('catches: %s', (text) => expect(violations(escapes, 'agent/sell.ts', text)).toHaveLength(1))
  test('lets the word stand in text', () => {
    expect(violations(escapes, 'agent/sell.ts', `const any = 'any' // any`)).toEqual([])
  })
})
