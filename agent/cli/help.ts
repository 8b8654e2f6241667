/** What `raincheck help` says. */
import type { Command, Commands } from './command.ts'

/** Commands that belong together, under what they are about. */
export type Chapters = Readonly<Record<string, Commands>>

const NOTES = `Every command takes --json: one document on stdout. Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 funds, 5 trust,
6 storage, 130 interrupted.

RAINCHECK_HOME             your key and settings (default: .raincheck/you, else the XDG config folder)
RAINCHECK_AGENT            your agent's URL, in place of the one in the settings
RAINCHECK_PASSPHRASE_FILE  what opens a key that \`init --passphrase-file\` made (each command takes the option, too)`

/** What somebody needs who has just begun. */
const FIRST = new Set(['search', 'get', 'downloads', 'share', 'balance', 'links', 'doctor'])

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

/** Where no command is named. */
export function firstText(chapters: Chapters): string {
  const all = Object.values(chapters).flatMap((commands) => Object.entries(commands))
  const first = Object.fromEntries(all.filter(([name]) => FIRST.has(name)))
  return [
    'usage: raincheck COMMAND … [--json]',
    lines(first).join('\n'),
    `\`raincheck help\` lists all ${all.length} commands, \`raincheck help COMMAND\` says what one takes.`,
  ].join('\n\n')
}

/** The name that was most likely meant; undefined where none is like it. */
export function nearest(typed: string, names: readonly string[]): string | undefined {
  const [best] = names.map((name) => ({ name, edits: editsBetween(typed, name) })).toSorted((a, b) => a.edits - b.edits)
  return best && best.edits <= Math.min(2, typed.length - 1) ? best.name : undefined
}

/** Levenshtein's distance. */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const letter of a) {
    const next = [(row[0] as number) + 1]
    for (const [i, other] of Array.from(b).entries()) {
      const [left, above, corner] = [next[i], row[i + 1], row[i]] as [number, number, number]
      next.push(Math.min(left + 1, above + 1, corner + (letter === other ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1) as number
}

const lines = (commands: Commands): string[] =>
  Object.entries(commands).map(([name, { usage, summary }]) => `  ${`${name} ${usage}`.trimEnd()}\n      ${summary}`)
