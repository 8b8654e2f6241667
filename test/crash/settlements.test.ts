import { describe, expect, test } from 'vitest'
import { freshTable } from '../infra/dynamodb-tables.ts'
import { settlements } from './settlements.ts'

describe('three processes over DynamoDB', () => {
  test('what was acknowledged is in the log once, whichever processes are killed', async () => {
    const say = () => undefined
    const report = await settlements({
      store: await freshTable(),
      processes: 3,
      lanes: 16,
      shards: 1,
      seconds: 3,
      seed: 'suite',
      say,
    })
    expect(report).toMatchObject({ missing: 0, twice: 0, wrongAccounts: 0, auditProblems: [] })
    expect(report.settled).toBeGreaterThan(0)
    expect(report.kills).toBeGreaterThan(0)
  })
})
