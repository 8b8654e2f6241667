/** Audits a made log once: LOG SIZE STATE VKEY. Says on stdout how long it took and how much memory at most. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { auditLog } from '../../agent/cli/audit.ts'
import { openKeptState } from '../../protocol/arbiter/kept-state.ts'
import { sourceInFolder } from '../../agent/cli/log-source.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { parseVerifierKey } from '../../protocol/checkpoint.ts'
import type { AuditMeasure } from './audit.ts'

const [log = '', size = '', path = '', vkey = ''] = process.argv.slice(2)
const source = { ...sourceInFolder(log), checkpoint: () => readFile(join(log, `checkpoint.${size}`), 'utf8') }
const store = openSqlite(path, { synchronous: 'normal' })
const start = performance.now()
const report = await auditLog(source, parseVerifierKey(vkey), { state: await openKeptState(store) })
const seconds = (performance.now() - start) / 1000
store.close()
if (!report.ok || report.size !== Number(size)) throw new Error(report.problems.join('; '))
const measure: AuditMeasure = { seconds, peakBytes: process.resourceUsage().maxRSS * 1024 }
process.stdout.write(JSON.stringify(measure))
