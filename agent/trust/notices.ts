/** What the owner was told by those who believed its vouches, as far as it holds. */
import { equal, toHex } from '../../protocol/bytes.ts'
import { parseNotice, requireNotifier } from '../../protocol/notice.ts'
import { unlessBug } from '../../protocol/problem.ts'
import type { SignedNotice } from '../clients/repository-client.ts'
import type { AgentContext } from '../context.ts'

/** Ids in hex. */
export interface ToldNotice {
  readonly by: string
  readonly subject: string
  /** How many times the credit of a vouch for the owner is halved with them. */
  readonly times: number
  readonly issued: number
}

/** The newest first. @throws Problem `peer-failed` when the repository does not answer */
export async function readNotices(context: AgentContext): Promise<readonly ToldNotice[]> {
  const shown = await context.repository.notices(toHex(context.owner))
  const told = await Promise.all(shown.map((each) => believed(context, each).catch(unlessBug)))
  return told.filter((each) => each !== undefined).toSorted((a, b) => b.issued - a.issued)
}

async function believed(context: AgentContext, { notice, delegation }: SignedNotice): Promise<ToldNotice | undefined> {
  const said = parseNotice(notice)
  if (!equal(said.to, context.owner)) return undefined
  const { state } = await context.repository.identity(toHex(said.by))
  requireNotifier(said, state, delegation, context.environment.clock.now())
  return { by: toHex(said.by), subject: toHex(said.subject), times: said.times, issued: said.issued }
}
