/** Words of a command that mean the same in many. */
import { UsageError, type Call } from './command.ts'

/** @throws UsageError unless the first word is an id */
export function idOf(call: Pick<Call, 'args'>): string {
  const id = call.args[0] as string
  if (!/^[0-9a-f]{64}$/.test(id)) throw new UsageError(`'${id}' is not an id: 64 lower-case hex digits.`)
  return id
}
