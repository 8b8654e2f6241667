/**
 * How an agent leaves, when its deployment goes: it sells and buys no more, turns its ticks into credits of its owner's, has
 * frozen credits released, and takes back what it announced and was granted. Each step may be repeated.
 */
import type { Clock } from '../protocol/environment.ts'
import { Problem, unlessBug } from '../protocol/problem.ts'
import type { Agent } from './agent.ts'
import type { Rest } from './download/shift.ts'
import { STOP_HEARD_MS } from './guard/guard.ts'

export interface Leaving {
  readonly clock: Clock
  readonly agent: Pick<Agent, 'downloads' | 'guard' | 'links' | 'seller' | 'shares'>
  /** Works on a download until it rests. */
  readonly work: (id: string) => Promise<Rest>
}

const ATTEMPTS = 5
const PAUSE_MS = 5_000

/** @throws Problem what kept a step from its end, once all that can be done is done: the agent should stay until it is repeated */
export async function leave(leaving: Leaving): Promise<void> {
  const { agent, clock } = leaving
  const { stopped } = await agent.guard.state()
  await agent.guard.change({ stopped: true })
  if (!stopped) await clock.sleep(STOP_HEARD_MS)
  const faults: unknown[] = []
  const attempt = (step: Promise<unknown>): Promise<unknown> =>
    step.catch((fault: unknown) => {
      faults.push(fault)
    })
  await attempt(agent.seller.close())
  for (const { id, state } of await agent.downloads.list())
    if (state !== 'done' && state !== 'failed') await attempt(end(leaving, id))
  // What was being sold when the switch was turned.
  await attempt(agent.seller.close())
  for (const { infoHash } of await agent.shares.list()) await agent.shares.remove(infoHash).catch(unlessBug)
  if (faults.length > 0) throw faults[0]
  for (const { name } of await agent.links.list()) await agent.links.remove(name)
}

/** What was written of it goes, and what its lanes do not owe comes back. */
async function end({ agent, clock, work }: Leaving, id: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await agent.downloads.cancel(id)
      const { isOver } = await work(id)
      if (isOver) return
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (error.code === 'closed') return
      if (error.code !== 'conflict') throw error
    }
    if (tries === ATTEMPTS) throw new Problem('conflict', `The download ${id} does not come to rest.`)
    await clock.sleep(PAUSE_MS)
  }
}
