/**
 * What the docs show is what the code does: each example and table of a page is made anew, and the page must be what comes
 * out. `npx vitest run test/docs/pages.test.ts -u` writes them into the pages.
 */
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { federationExamples } from './federation-story.ts'
import { ledgerExamples } from './ledger-story.ts'
import { marketExamples } from './market-story.ts'
import { objectExamples } from './objects.ts'
import { examplesIn, readProtocol, render, ROOT, type Written } from './page.ts'
import { tables } from './tables.ts'
import { witnessExamples } from './witness-story.ts'

const pages = readProtocol()
let written: Written

beforeAll(async () => {
  const told = await Promise.all([federationExamples(), ledgerExamples(), marketExamples(), witnessExamples()])
  written = { examples: new Map([...Object.entries(objectExamples), ...told.flatMap((each) => [...each])]), tables }
})

test.each(pages)('$path shows what the code does', async (page) => {
  await expect(render(page, written)).toMatchFileSnapshot(join(ROOT, page.path))
})

test('every example that is made is shown', () => {
  const shown = new Set(pages.flatMap(examplesIn).map(({ name }) => name))
  expect([...written.examples.keys()].filter((name) => !shown.has(name))).toEqual([])
})
