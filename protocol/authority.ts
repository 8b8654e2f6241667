/** Who acts for an identity: its own keys, or an agent's key that one of them signed a delegation for. */
import { equal, type Bytes } from './bytes.ts'
import { parseDelegation, requirePower, type Delegation, type Power } from './delegation.ts'
import { speaksFor, type IdentityState } from './identity.ts'
import { Problem } from './problem.ts'
import type { Envelope } from './signed.ts'

/**
 * `undefined`: one of the identity's own keys. Else the delegation, whose powers and times are for `requirePower`.
 * @param speaks whether a key is the identity's own: its keys now unless given
 * @throws Problem `unknown-key` when the key is neither, `bad-encoding`, `bad-signature` of the delegation
 */
export function authorityOf(
  state: IdentityState,
  key: Bytes,
  delegation: Envelope | undefined,
  speaks: (key: Bytes) => boolean = (own) => speaksFor(state, own),
): Delegation | undefined {
  if (speaks(key)) return undefined
  if (!delegation) throw new Problem('unknown-key', 'The key is not one of the identity’s, and no delegation is shown.')
  const parsed = parseDelegation(delegation)
  if (!equal(parsed.owner, state.id) || !speaks(parsed.key)) {
    throw new Problem('unknown-key', 'The delegation is not signed by one of the identity’s keys.')
  }
  if (!equal(parsed.agent, key)) throw new Problem('unknown-key', 'The delegation is for another key.')
  return parsed
}

export interface Speaking {
  readonly delegation: Envelope | undefined
  readonly power: Power
  /** When the delegation has to be in force. */
  readonly atMs: number
  /** As of `authorityOf`. */
  readonly speaks?: (key: Bytes) => boolean
}

/**
 * That what was said in an identity's name was said by one of its own keys, or by an agent's that may.
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export function requireSpeaker(
  { by, key }: { readonly by: Bytes; readonly key: Bytes },
  state: IdentityState,
  { delegation, power, atMs, speaks }: Speaking,
): void {
  if (!equal(by, state.id)) throw new Problem('unknown-key', 'This object belongs to another identity.')
  const delegated = authorityOf(state, key, delegation, speaks)
  if (delegated) requirePower(delegated, power, atMs)
}
