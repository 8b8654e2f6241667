import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { settlements } from './settlements.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'raincheck-settlements-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe.each([
  { name: 'DynamoDB', seconds: 8, shards: 1, place: () => freshTable() },
  { name: 'SQLite', seconds: 5, shards: 2, place: async () => `sqlite:${join(dir, 'ledger.sqlite')}` },
])('three processes over $name', ({ seconds, shards, place }) => {
  test('what was acknowledged is in the log once, whichever processes are killed', async () => {
    const say = () => undefined
    const report = await settlements({
      store: await place(),
      processes: 3,
      lanes: 16,
      shards,
      seconds,
      seed: 'suite',
      say,
    })
    expect(report).toMatchObject({ missing: 0, twice: 0, wrongAccounts: 0, auditProblems: [] })
    expect(report.settled).toBeGreaterThan(0)
    expect(report.kills).toBeGreaterThan(0)
  })
})
