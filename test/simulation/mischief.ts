/** Sellers that misbehave: a whole and honest agent, with something in front of it. */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import type { Chance } from './chance.ts'
import type { Handler } from './network.ts'
import type { Scheduler } from './scheduler.ts'

/**
 * `garbage`: bytes that are not the piece. `stall`: no answer to what was paid. `withhold`: the tick is taken, the piece
 * is not sent. `short`: the piece ends early, or goes on. `vanish`: the host goes for good.
 */
export const MISCHIEFS = ['garbage', 'stall', 'withhold', 'short', 'vanish'] as const
export type Mischief = (typeof MISCHIEFS)[number]

const STALL_MS = 3_600_000

export function tamperWith(
  mischief: Mischief | undefined,
  chance: Chance,
  scheduler: Scheduler,
): (answer: Handler) => Handler {
  if (mischief === undefined || mischief === 'vanish') return (answer) => answer
  const share = chance.pick([0.3, 1])
  return (answer) => async (request) => {
    const isPiece = /^\/v1\/pieces\/[0-9a-f]+\/[0-9]+$/.test(new URL(request.url).pathname)
    const response = await answer(request)
    if (!isPiece || response.status !== 200 || !chance.hits(share)) return response
    return spoil(mischief, response, chance, scheduler)
  }
}

async function spoil(
  mischief: Exclude<Mischief, 'vanish'>,
  response: Response,
  chance: Chance,
  scheduler: Scheduler,
): Promise<Response> {
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { status, headers } = response
  if (mischief === 'garbage') return new Response(flipped(bytes, chance), { status, headers })
  if (mischief === 'withhold') return new Response(null, { status: chance.pick([500, 404, 402, 204]) })
  if (mischief === 'short') return new Response(chance.hits(0.5) ? bytes.subarray(1) : concat(bytes, bytes), { status })
  await scheduler.sleep(STALL_MS)
  return new Response(bytes, { status, headers })
}

function flipped(bytes: Bytes, chance: Chance): Bytes {
  const at = chance.integer(0, bytes.length - 1)
  return bytes.map((byte, i) => (i === at ? byte ^ chance.integer(1, 255) : byte))
}
