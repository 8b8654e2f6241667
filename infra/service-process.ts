/** What entry points share: settings from variables, one line when up or unable to, a clean end on SIGTERM. */
import { Problem, problemOf } from '../protocol/problem.ts'

export interface Settings {
  readonly required: (name: string) => string
  readonly optional: (name: string, otherwise: string) => string
}

/** A setting that is missing or wrong: exit code 2. */
export class SettingError extends Error {}

export const settings = (variables: Readonly<Record<string, string | undefined>>): Settings => ({
  required(name) {
    const value = variables[name]
    if (!value) throw new SettingError(`set ${name}`)
    return value
  },
  optional: (name, otherwise) => variables[name] || otherwise,
})

export interface Running {
  readonly url: string
  /** What else is said when it is up. */
  readonly about?: Readonly<Record<string, string>>
  stop(): Promise<void>
}

export interface StartFailure {
  /** One line for what the operator can mend; a stack for a fault of ours. */
  readonly text: string
  readonly exitCode: 1 | 2
}

export function startFailure(error: unknown): StartFailure {
  const problem = problemOf(error)
  if (problem.code !== 'internal') return { text: problem.message, exitCode: 1 }
  if (error instanceof SettingError || error instanceof RangeError) return { text: error.message, exitCode: 2 }
  return { text: isSystemError(error) ? error.message : faultText(error), exitCode: 1 }
}

/** A store that does not answer is no fault of whoever asked it. */
export function faultText(error: unknown): string {
  if (error instanceof Problem && error.code === 'store-unavailable') return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && 'syscall' in error

/** Nothing is lost when this runs out: every state is durable before it counts. */
const STOP_MS = 5_000

/** Calls `stop` at the first SIGTERM or SIGINT, then ends the process. Each may come twice: npm hands on what its child got too. */
export function onTermination(stop: () => Promise<void>, exitCode = 0): void {
  let isEnding = false
  const exit = (): never => process.exit(exitCode)
  const end = (): void => {
    if (isEnding) return
    isEnding = true
    setTimeout(exit, STOP_MS)
    stop().then(exit, (error: unknown) => {
      process.stderr.write(`${faultText(error)}\n`)
      process.exit(1)
    })
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

/** Runs a service until SIGTERM or SIGINT; what cannot start says why in one line. */
export async function untilTerminated(
  name: string,
  start: (report: (error: unknown) => void) => Promise<Running>,
): Promise<void> {
  const say = (line: string) => process.stderr.write(`raincheck ${name}: ${line}\n`)
  try {
    const running = await start((error) => say(faultText(error)))
    // Whoever reads the line may end the process at once.
    onTermination(() => running.stop())
    process.stdout.write(`${JSON.stringify({ event: 'ready', service: name, url: running.url, ...running.about })}\n`)
  } catch (error) {
    const { text, exitCode } = startFailure(error)
    say(text)
    process.exit(exitCode)
  }
}
