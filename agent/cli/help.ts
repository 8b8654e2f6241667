/** What `raincheck help` says. */
import type { Command, Commands } from './command.ts'

/** Commands that belong together, under what they are about. */
export type Chapters = Readonly<Record<string, Commands>>

const NOTES = `Every command takes --json: one document on stdout. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 funds, 5 trust,
6 storage, 130 interrupted.

RAINCHECK_HOME             your key and settings (default: .raincheck/you, else the XDG config folder)
RAINCHECK_AGENT            your agent's URL, in place of the one in the settings
RAINCHECK_PASSPHRASE_FILE  what opens a key that \`init --passphrase-file\` made (each command takes the option, too)`

export const usageOf = (name: string, { usage }: Command): string =>
  `usage: raincheck ${`${name} ${usage}`.trimEnd()} [--json]`

export const helpJson = (chapters: Chapters): unknown =>
  Object.values(chapters).flatMap((commands) =>
    Object.entries(commands).map(([name, { usage, summary }]) => ({ command: name, usage, summary })),
  )

export function helpText(chapters: Chapters): string {
  const sections = Object.entries(chapters).map(([title, commands]) => [title, ...lines(commands)].join('\n'))
  return ['usage: raincheck COMMAND … [--json]', ...sections, NOTES].join('\n\n')
}

const lines = (commands: Commands): string[] =>
  Object.entries(commands).map(([name, { usage, summary }]) => `  ${`${name} ${usage}`.trimEnd()}\n      ${summary}`)
