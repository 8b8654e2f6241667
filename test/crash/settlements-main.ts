/**
 * `node test/crash/settlements-main.ts [--store dynamodb|sqlite] [--seconds N] [--processes N] [--lanes N]
 * [--shards N] [--seed S]`:
 * see settlements.ts. Exit code 1 when anything is wrong.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startDynamodb } from '../infra/dynamodb-server.ts'
import { settlements } from './settlements.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'dynamodb' },
    seconds: { type: 'string', default: '60' },
    processes: { type: 'string', default: '8' },
    lanes: { type: 'string', default: '64' },
    shards: { type: 'string', default: '1' },
    seed: { type: 'string', default: 'settlements' },
  },
})
const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'raincheck-settlements-'))
const server = values.store === 'dynamodb' ? await startDynamodb({ path: join(dir, 'dynamodb.sqlite') }) : undefined
Object.assign(process.env, server?.variables)
try {
  const report = await settlements({
    store: server ? `dynamodb:settlements-${process.pid}` : `sqlite:${join(dir, 'ledger.sqlite')}`,
    processes: Number(values.processes),
    lanes: Number(values.lanes),
    shards: Number(values.shards),
    seconds: Number(values.seconds),
    seed: values.seed,
    say: (line) => console.error(line),
  })
  const { auditProblems, missing, sequencersKilled, settled, twice, wrongAccounts } = report
  const ok = settled * sequencersKilled > 0 && missing + twice + wrongAccounts + auditProblems.length === 0
  console.log(JSON.stringify({ ok, ...report }))
  process.exitCode = ok ? 0 : 1
} finally {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
}
