/** What the entry points of the three services share: settings from variables, one line when up, a clean end on SIGTERM. */
import { problemOf } from '../protocol/problem.ts'

export interface Settings {
  readonly required: (name: string) => string
  readonly optional: (name: string, otherwise: string) => string
}

/** A setting that is missing: exit code 2. */
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
  stop(): Promise<void>
}

/** Runs a service until SIGTERM or SIGINT; what cannot start says why in one line. */
export async function untilTerminated(
  name: string,
  start: (report: (error: unknown) => void) => Promise<Running>,
): Promise<void> {
  const say = (line: string) => process.stderr.write(`raincheck ${name}: ${line}\n`)
  const report = (error: unknown) => say(error instanceof Error ? (error.stack ?? error.message) : String(error))
  try {
    const running = await start(report)
    process.stdout.write(`${JSON.stringify({ event: 'ready', service: name, url: running.url })}\n`)
    const end = () => void running.stop().then(() => process.exit(0))
    process.once('SIGTERM', end)
    process.once('SIGINT', end)
  } catch (error) {
    if (error instanceof SettingError) say(error.message)
    else if (problemOf(error).code === 'internal') report(error)
    else say(problemOf(error).message)
    process.exitCode = error instanceof SettingError ? 2 : 1
  }
}
