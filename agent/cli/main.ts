#!/usr/bin/env node
/** Entry point of `raincheck`: the process's streams, files and variables, and nothing else. */
import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { realEnvironment } from '../../infra/environment.ts'
import { EXIT } from './exit-code.ts'

function homeDir(): string {
  const given = process.env['RAINCHECK_HOME']
  if (given) return given
  const local = join(process.cwd(), '.raincheck', 'you')
  if (existsSync(local)) return local
  return join(process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'raincheck')
}

const interrupted = new AbortController()
// Twice where npm hands it on too.
process.on('SIGINT', () => interrupted.abort(new Error('interrupted')))
// A reader that has left is no fault; a disk that is full is one.
process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') return
  process.stderr.write(`raincheck: the answer could not be written: ${message}\n`)
  process.exit(EXIT.storage)
})
process.stderr.on('error', () => undefined)
// Hides Node's warning that SQLite is experimental.
process.removeAllListeners('warning')
process.on('warning', ({ name, message }) => {
  if (name !== 'ExperimentalWarning') process.stderr.write(`${name}: ${message}\n`)
})
const { RAINCHECK_AGENT: agentUrl, RAINCHECK_PASSPHRASE_FILE: passphraseFile } = process.env

// What Node makes of the modules is kept, and makes the next command faster; they are loaded once that is set up.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/raincheck', import.meta.url)))
const { run } = await import('./cli.ts')

const exitCode = await run(process.argv.slice(2), {
  environment: realEnvironment(),
  homeDir: homeDir(),
  workingDir: process.cwd(),
  ...(agentUrl ? { agentUrl } : {}),
  ...(passphraseFile ? { passphraseFile } : {}),
  signal: interrupted.signal,
  isTerminal: process.stderr.isTTY,
  openStore: async (path) => (await import('../../infra/store/sqlite.ts')).openSqlite(path, { synchronous: 'normal' }),
  monotonicMs: () => performance.now(),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
})
if (interrupted.signal.aborted) process.exit(exitCode)
process.exitCode = exitCode
