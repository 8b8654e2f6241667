/** Words of a command that mean the same in many. */
import { UsageError, type Call } from './command.ts'

/** @throws UsageError unless the first word is an id */
export const idOf = (call: Pick<Call, 'args'>): string => idIn(call.args[0] as string)

/** @throws UsageError unless it is an id, or a key, which looks alike */
export function idIn(word: string, what = 'an id'): string {
  if (!/^[0-9a-f]{64}$/.test(word)) throw new UsageError(`'${word}' is not ${what}: 64 lower-case hex digits.`)
  return word
}
