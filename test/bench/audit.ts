/**
 * How fast an audit goes, and what memory it takes: of logs of two lengths, each by a process of its own, with its state in
 * a file. Memory must not grow with the log: the heap has a limit, above which the process would die.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { formatVerifierKey } from '../../protocol/checkpoint.ts'
import { median, type Bench, type Figure } from './figure.ts'
import { LOG_KEY } from './log-writer.ts'
import { makeLog } from './made-log.ts'

const CHILD = fileURLToPath(new URL('audit-child.ts', import.meta.url))
/** `AUDIT_SIZES=10000,100000` measures others. */
const SIZES = (process.env['AUDIT_SIZES'] ?? '100000,1000000').split(',').map(Number)

/** Node takes more where it is let, before it looks for what can go. */
const HEAP = ['--max-old-space-size=96', '--max-semi-space-size=8']
/** Of a log that takes minutes, once is enough. */
const timesFor = (size: number): number => (size >= 500_000 ? 1 : 3)

export interface AuditMeasure {
  readonly seconds: number
  readonly peakBytes: number
}

export const audit: Bench = async (options) => {
  const { dir, runs } = options
  const log = join(dir, 'log')
  if (!existsSync(log)) {
    options.say(`making a log of ${Math.max(...SIZES)} entries`)
    await makeLog(log, SIZES, true)
  }
  const peaks: number[] = []
  const figures: Figure[] = []
  for (const size of SIZES) {
    const measures: AuditMeasure[] = []
    for (let run = 0; run < Math.min(runs, timesFor(size)); run++)
      measures.push(await measure(log, size, join(dir, `state-${size}-${run}`)))
    const speed = median(measures.map(({ seconds }) => size / seconds))
    const peak = median(measures.map(({ peakBytes }) => peakBytes))
    peaks.push(peak)
    const ratio = peak / (peaks[0] as number)
    figures.push(
      { name: `audit of ${size}`, unit: 'entries/s', value: speed, runs: measures.length },
      {
        name: `audit of ${size}, peak memory`,
        ratio,
        unit: 'MiB (to the shortest log)',
        value: peak / 2 ** 20,
        runs: measures.length,
      },
    )
    options.say(`${size} entries: ${speed.toFixed(0)} entries/s, ${(peak / 2 ** 20).toFixed(0)} MiB`)
  }
  return figures
}

async function measure(log: string, size: number, state: string): Promise<AuditMeasure> {
  const args = [
    ...HEAP,
    '--disable-warning=ExperimentalWarning',
    CHILD,
    log,
    String(size),
    state,
    formatVerifierKey(LOG_KEY),
  ]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as AuditMeasure
}
