/** A policy of witnesses in a variable of a function, which has no files. */
import { parseLogPolicy, type LogPolicy } from '../../protocol/log-policy.ts'
import type { Settings } from '../service-process.ts'

/** Where a parameter of a stack is typed into one line, a semicolon between blanks ends a line. */
export const policyText = (text: string): string => text.replaceAll(/\s;\s/g, '\n')

/** @returns undefined where the variable is empty. @throws Problem `bad-encoding` */
export function policySetting({ optional }: Pick<Settings, 'optional'>, name: string): LogPolicy | undefined {
  const text = optional(name, '')
  return text === '' ? undefined : parseLogPolicy(policyText(text))
}
