/** How an agent's owner has it deal, as its variables say: SELL_MODES and STAKE_MOST. */
import { LANE_MODES } from '../protocol/commitment.ts'
import { Problem } from '../protocol/problem.ts'
import type { AgentContext } from './context.ts'

/**
 * @param optional reads a variable, or gives what is used where it is not set
 * @throws Problem `bad-request` for a mode that there is not, or a stake that is no number
 */
export function dealing(
  optional: (name: string, otherwise: string) => string,
): Pick<AgentContext, 'modes' | 'stakeMost'> {
  const stake = optional('STAKE_MOST', '')
  const modes = optional('SELL_MODES', LANE_MODES.join(',')).split(',')
  const unknown = modes.find((mode) => !LANE_MODES.some((known) => known === mode))
  if (unknown !== undefined || !/^\d{0,18}$/.test(stake)) {
    throw new Problem(
      'bad-request',
      'SELL_MODES is a list of credit, prepaid and sealed, with commas between them; STAKE_MOST is a number of credits.',
    )
  }
  return {
    modes: LANE_MODES.filter((mode) => modes.includes(mode)),
    ...(stake !== '' && { stakeMost: BigInt(stake) }),
  }
}
