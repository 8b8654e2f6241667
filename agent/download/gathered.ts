/** What the owner sees of a download that is spread over several workers. */
import type { DownloadRecord, DownloadState } from './record.ts'
import { mergeSellers } from './runner.ts'

const OPEN: ReadonlySet<DownloadState> = new Set(['queued', 'running', 'waiting', 'paused'])

/** How a download stands as its stretches do: it waits when all that are left wait. Once it has ended, its own record says all. */
export function gathered(record: DownloadRecord, stretches: readonly DownloadRecord[]): DownloadRecord {
  if (stretches.length === 0 || !OPEN.has(record.state)) return record
  const sum = (of: (report: DownloadRecord['report']) => number): number =>
    stretches.reduce((total, { report }) => total + of(report), 0)
  const report = {
    done: sum(({ done }) => done),
    piecesDone: sum(({ piecesDone }) => piecesDone),
    ticks: sum(({ ticks }) => ticks),
    paid: String(stretches.reduce((total, { report: { paid } }) => total + BigInt(paid), 0n)),
    bytesPerSecond: sum(({ bytesPerSecond }) => bytesPerSecond),
    sellers: mergeSellers(stretches.flatMap(({ report: { sellers } }) => sellers)),
  }
  const left = stretches.filter(({ state }) => state !== 'done')
  const [first] = left
  if (record.state !== 'running' || !first || !left.every(({ state }) => state === 'waiting'))
    return { ...record, report }
  const { reason = '', detail = '', until } = first
  return { ...record, report, state: 'waiting', reason, detail, ...(until !== undefined && { until }) }
}
