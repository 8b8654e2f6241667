import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { settlements } from './settlements.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'raincheck-settlements-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test.each([
  ['DynamoDB', () => freshTable()],
  ['SQLite', async () => `sqlite:${join(dir, 'ledger.sqlite')}`],
])('on %s, what was acknowledged is in the log once, whichever processes are killed', async (_name, place) => {
  const say = () => undefined
  const report = await settlements({ store: await place(), processes: 3, lanes: 16, seconds: 8, seed: 'suite', say })
  expect(report).toMatchObject({ missing: 0, twice: 0, wrongAccounts: 0, auditProblems: [] })
  expect(report.settled).toBeGreaterThan(100)
  expect(report.sequencersKilled).toBeGreaterThan(2)
})
