/** Who somebody is by what they show of their keys, and by what the repository knows has become of those since. */
import { toHex } from '../../protocol/bytes.ts'
import { isInForce, replay, type IdentityState } from '../../protocol/identity.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'

/**
 * The repository knows of later keys than somebody shows who holds an old one, and which changes were undone. Where it does
 * not answer, what is shown counts.
 * @param shown from the first operation on. @throws Problem those of `replay`, `conflict` among them for what was undone, or
 *   undoes what the repository knows
 */
export async function identityNow(
  { repository, environment }: Pick<AgentContext, 'repository' | 'environment'>,
  shown: readonly Envelope[],
): Promise<IdentityState> {
  const nowMs = environment.clock.now()
  const state = replay(shown, nowMs)
  const known = (await repository.identity(toHex(state.id)).catch(unlessBug))?.state
  if (!known) return state
  const now = replay(shown, nowMs, known)
  // When it took what it knows, and so what may still override that, is for the repository to say: it is told first.
  if (!isInForce(now, known.head)) throw new Problem('conflict', 'The repository knows of operations that these undo.')
  return now
}
