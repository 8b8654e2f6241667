/** Entry point of `npm run test:live`: says what it would touch, and does so once it is told to (`-- --yes`). */
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { startVitest } from 'vitest/node'
import { accountsIn } from './accounts.ts'

const folder = `raincheck-live-${randomBytes(4).toString('hex')}`
const accounts = accountsIn(process.env, folder)
const say = (line: string): boolean => process.stderr.write(`${line}\n`)

if (accounts.length === 0) {
  say('No account is named: docs/CONTRIBUTING.md lists the variables.')
  process.exit(2)
}
say('The suite of storages writes and removes some 200 files for each, less than 2 GiB in all, in:')
for (const { kind, place } of accounts) say(`  ${kind}: ${place}`)
if (!process.argv.includes('--yes')) {
  say('Nothing was touched. To run it: npm run test:live -- --yes')
  process.exit(0)
}
process.env['RAINCHECK_LIVE_FOLDER'] = folder
const root = fileURLToPath(new URL('../..', import.meta.url))
const patience = { testTimeout: 600_000, hookTimeout: 600_000, maxWorkers: 1 }
const run = await startVitest('test', [], {
  ...patience,
  root,
  config: false,
  watch: false,
  include: ['test/live/*.live.ts'],
  execArgv: ['--disable-warning=ExperimentalWarning'],
})
await run.close()
