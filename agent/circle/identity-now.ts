/** Who somebody is by what they show of their keys, and by what the repository knows has become of those since. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { decodeIdentity, encodeIdentity, isInForce, replay, type IdentityState } from '../../protocol/identity.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'

type Context = Pick<AgentContext, 'repository' | 'environment' | 'store'>

const PK = 'circle-identity'

/**
 * The repository knows of later keys than somebody shows who holds an old one, and which changes were undone. Where it has
 * never answered, what is shown counts.
 * @param shown from the first operation on. @throws Problem those of `replay`, `conflict` among them for what was undone, or
 *   undoes what the repository knows
 */
export async function identityNow(context: Context, shown: readonly Envelope[]): Promise<IdentityState> {
  const nowMs = context.environment.clock.now()
  const state = replay(shown, nowMs)
  const known = await knownOf(context, state.id)
  if (!known) return state
  const now = replay(shown, nowMs, known)
  // When it took what it knows, and so what may still override that, is for the repository to say: it is told first.
  if (!isInForce(now, known.head)) throw new Problem('conflict', 'The repository knows of operations that these undo.')
  return now
}

/** What the repository says now, or said before where it does not answer or has forgotten some of it. */
async function knownOf({ repository, store }: Context, id: Bytes): Promise<IdentityState | undefined> {
  const sk = toHex(id)
  const item = await store.get(PK, sk)
  const kept = item && decodeIdentity(item.body)
  const told = (await repository.identity(sk).catch(unlessBug))?.state
  if (!told || (kept && isInForce(kept, told.head))) return kept
  await store.write([{ pk: PK, sk, expect: 'any', body: encodeIdentity(told) }])
  return told
}
