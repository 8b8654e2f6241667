import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { books } from './books.ts'

const UPDATES = 40

describe.each([
  { name: 'DynamoDB', place: () => freshTable() },
  { name: 'SQLite', place: async (dir: string) => `sqlite:${join(dir, 'repository.sqlite')}` },
])('a repository over $name', ({ place }) => {
  test('that is killed while books are published has each that it acknowledged, and no half of one', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'raincheck-books-'))
    try {
      const options = { store: await place(dir), updates: UPDATES, kills: 1, issuers: 4, seed: 'suite' }
      const report = await books({ ...options, say: () => undefined })
      expect(report).toMatchObject({ acknowledged: UPDATES, kills: 1, lost: 0, broken: 0, misplaced: 0 })
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
