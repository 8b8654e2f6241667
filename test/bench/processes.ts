/** Child processes of a benchmark, and what the operating system says they used (Linux: /proc). */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

export interface Child {
  readonly pid: number
  /** The first line of JSON that it printed. */
  readonly ready: Record<string, unknown>
  /** @param signal default SIGTERM */
  stop(signal?: NodeJS.Signals): Promise<void>
}

const CLOCK_TICKS_PER_SECOND = 100

/** @param flags of Node's, besides what every process is started with */
export async function start(
  script: string,
  variables: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): Promise<Child> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...flags, script], {
    env: { ...process.env, ...variables },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([once(lines, 'line'), died(script, child)])) as [string]
  return {
    pid: child.pid as number,
    ready: JSON.parse(line) as Record<string, unknown>,
    async stop(signal = 'SIGTERM') {
      const ended = once(child, 'exit')
      child.kill(signal)
      await ended
    },
  }
}

async function died(script: string, child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null]
  throw new Error(`${script} ended with ${code} before it was ready`)
}

/** User and system time so far, in seconds. */
export function cpuSeconds({ pid }: Child): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND
}

/** The most memory it ever had, in MiB. */
export function peakMiB({ pid }: Child): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}
