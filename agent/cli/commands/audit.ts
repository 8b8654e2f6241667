/** `raincheck audit`: a ledger's log, from its first entry or from where the last audit was. */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '#primitives'
import { toHex, utf8 } from '../../../protocol/bytes.ts'
import { formatVerifierKey, parseVerifierKey, type NoteKey } from '../../../protocol/checkpoint.ts'
import { parseLogPolicy, type LogPolicy } from '../../../protocol/log-policy.ts'
import type { AuditReport } from '../audit.ts'
import { makeFolder } from '../../make-folder.ts'
import { openKeptState, type KeptState } from '../../../protocol/arbiter/kept-state.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { sourceAtLedger, sourceAtUrl, sourceInFolder, type LogSource } from '../log-source.ts'

export const auditCommands: Commands = {
  audit: {
    usage: '[LEDGERURL | --vkey VKEY TILESURL|DIR] [--policy FILE] [--resume | --fresh]',
    summary:
      'Replay a ledger’s log and check every signature, rule, sum, root, proof and cosignature; goes on where it was',
    options: {
      vkey: { type: 'string' },
      policy: { type: 'string' },
      resume: { type: 'boolean' },
      fresh: { type: 'boolean' },
    },
    takes: [0, 1],
    run: audit,
  },
}

interface Log {
  readonly source: LogSource
  readonly key: NoteKey
}

async function audit(call: Call): Promise<Answer> {
  if (call.flag('resume') && call.flag('fresh')) throw new UsageError('--resume and --fresh are opposites.')
  const { auditLog } = await import('../audit.ts')
  const log = call.text('vkey') === undefined ? await logAtLedger(call) : await copyOf(call)
  const policy = await readPolicy(call)
  const { state, close } = await openState(call, log.key)
  try {
    const report = await auditLog(log.source, log.key, {
      ...(policy && { policy }),
      ...(state && { state }),
      nowMs: call.environment.clock.now(),
      onProgress: (checked, size) => call.progress(`audited ${checked} of ${size} entries`),
    })
    return answer(report)
  } finally {
    call.progress('')
    close()
  }
}

function answer(report: AuditReport): Answer {
  const { ok, origin, problems, resumedAt, rootHash, shards, size, witnesses } = report
  const verdict = ok ? 'ok' : `FAULT: ${problems.join('; ')}`
  const notes = [
    ...(shards === undefined ? [] : [`in ${shards} shards`]),
    ...(resumedAt > 0 ? [`${resumedAt} of them checked before`] : []),
    ...(witnesses.length > 0 ? [`cosigned by ${witnesses.join(', ')}`] : []),
  ]
  const text = `${[`${origin}: ${size} entries`, ...notes, `root ${rootHash}`].join(', ')}: ${verdict}`
  return { json: report, text, exitCode: ok ? 0 : 1 }
}

async function logAtLedger(call: Call): Promise<Log> {
  const ledger = await call.ledger(call.args[0])
  const { keyOfLedger } = await import('../../ledger-watch/ledger-key.ts')
  return { source: sourceAtLedger(ledger), key: keyOfLedger(await ledger.info()) }
}

/** The key says whose log it is: a copy has nobody's word but the log's. */
async function copyOf(call: Call): Promise<Log> {
  const [place] = call.args
  if (place === undefined) throw new UsageError('--vkey goes with the URL or the folder of a log’s tiles.')
  const key = parseVerifierKey(call.text('vkey') ?? '')
  const isUrl = /^https?:\/\//.test(place)
  const source = isUrl
    ? sourceAtUrl(call.environment, place.replace(/\/+$/, ''))
    : sourceInFolder(call.resolvePath(place))
  return { source, key }
}

async function readPolicy(call: Call): Promise<LogPolicy | undefined> {
  const named = call.text('policy')
  if (named !== undefined) return parseLogPolicy(await readFile(call.resolvePath(named), 'utf8'))
  return call.home.witnesses()
}

interface Opened {
  readonly state?: KeptState
  readonly close: () => void
}

/** In the owner's home, where there is one; else in memory, as for whoever audits a ledger that is not theirs. */
async function openState(call: Call, key: NoteKey): Promise<Opened> {
  if (!existsSync(call.homeDir)) return { close: () => undefined }
  const dir = join(call.homeDir, 'audits')
  const path = join(dir, `${toHex(sha256(utf8(formatVerifierKey(key)))).slice(0, 32)}.sqlite`)
  if (call.flag('fresh')) await Promise.all(['', '-wal', '-shm'].map((end) => rm(`${path}${end}`, { force: true })))
  makeFolder(dir, 0o700)
  const store = await call.openStore(path)
  return store ? { state: await openKeptState(store), close: () => store.close() } : { close: () => undefined }
}
