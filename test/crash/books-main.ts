/**
 * `node test/crash/books-main.ts [--store dynamodb|sqlite] [--updates N] [--kills N] [--issuers N] [--seed S]`: see
 * books.ts. Exit code 1 when anything is wrong.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startDynamodb } from '../infra/dynamodb-server.ts'
import { books } from './books.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'sqlite' },
    updates: { type: 'string', default: '1000' },
    kills: { type: 'string', default: '15' },
    issuers: { type: 'string', default: '8' },
    seed: { type: 'string', default: 'books' },
  },
})
const dir = mkdtempSync(join(tmpdir(), 'raincheck-books-'))
const server = values.store === 'dynamodb' ? await startDynamodb({ path: join(dir, 'dynamodb.sqlite') }) : undefined
Object.assign(process.env, server?.variables)
try {
  const report = await books({
    store: server ? `dynamodb:books-${process.pid}` : `sqlite:${join(dir, 'repository.sqlite')}`,
    updates: Number(values.updates),
    kills: Number(values.kills),
    issuers: Number(values.issuers),
    seed: values.seed,
    say: (line) => console.error(line),
  })
  const { acknowledged, broken, lost, misplaced } = report
  const ok = acknowledged === Number(values.updates) && broken + lost + misplaced === 0
  console.log(JSON.stringify({ ok, ...report }))
  process.exitCode = ok ? 0 : 1
} finally {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
}
