/** The witnesses that an operator has a log's checkpoints cosigned by, out of a policy (C2SP tlog-policy). */
import { parseLogPolicy } from '../protocol/log-policy.ts'
import type { WitnessPlace } from '../protocol/witness-client.ts'
import { SettingError } from './service-process.ts'

/**
 * @param policy that names them, with their URLs; none when empty
 * @param source what an error names
 * @throws SettingError, Problem `bad-encoding`
 */
export function witnessPlaces(policy: string, source: string): WitnessPlace[] {
  if (policy === '') return []
  return parseLogPolicy(policy).witnesses.map(({ key, url }) => {
    if (url === undefined) throw new SettingError(`${source} names no URL of the witness ${key.name}`)
    return { key, url }
  })
}
