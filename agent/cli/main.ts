#!/usr/bin/env node
/** Entry point of `raincheck`: the process's streams, files and variables, and nothing else. */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { realEnvironment } from '../../infra/environment.ts'
import { run } from './cli.ts'

function homeDir(): string {
  const given = process.env['RAINCHECK_HOME']
  if (given) return given
  const local = join(process.cwd(), '.raincheck', 'you')
  if (existsSync(local)) return local
  return join(process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'raincheck')
}

const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')))
const agentUrl = process.env['RAINCHECK_AGENT']

process.exitCode = await run(process.argv.slice(2), {
  environment: realEnvironment(),
  homeDir: homeDir(),
  workingDir: process.cwd(),
  ...(agentUrl ? { agentUrl } : {}),
  signal: interrupted.signal,
  isTerminal: process.stderr.isTTY,
  monotonicMs: () => performance.now(),
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
})
