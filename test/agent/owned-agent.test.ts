import { describe, expect, it } from 'vitest'
import type { Agent } from '../../agent/agent.ts'
import type { Owned } from '../../agent/claim.ts'
import { createOwnedAgent } from '../../agent/owned-agent.ts'
import { Problem } from '../../protocol/problem.ts'

const SOON_MS = 2_000

function instance() {
  let nowMs = 1_000_000
  let owned: Owned | undefined
  const said: string[] = []
  const agentOf = createOwnedAgent({
    clock: { now: () => nowMs },
    claims: { current: async () => owned },
    open: async ({ url }) => {
      said.push(`open ${url}`)
      if (url.endsWith('broken')) throw new Problem('store-unavailable', 'Not now.')
      return { stop: async () => void said.push(`stop ${url}`) } as Partial<Agent> as Agent
    },
  })
  return {
    agentOf,
    said,
    claim: (url: string) => void (owned = { url } as Owned),
    later: () => void (nowMs += SOON_MS),
  }
}

describe('an instance of a deployed agent', () => {
  it('has no agent before somebody owns it, and from then on always the same', async () => {
    const { agentOf, said, claim, later } = instance()
    expect(await agentOf()).toBeUndefined()
    claim('a')
    const agent = await agentOf()
    later()
    expect(await agentOf()).toBe(agent)
    expect(said).toEqual(['open a'])
  })

  it('goes by the keys of before for two seconds at most, once its owner has claimed it anew', async () => {
    const { agentOf, said, claim, later } = instance()
    claim('a')
    const before = await agentOf()
    claim('b')
    expect(await agentOf()).toBe(before)
    later()
    const now = await Promise.all([agentOf(), agentOf()])
    expect(now[0]).not.toBe(before)
    expect(now[1]).toBe(now[0])
    expect(said).toEqual(['open a', 'stop a', 'open b'])
  })

  it('tries again what could not be opened', async () => {
    const { agentOf, claim } = instance()
    claim('broken')
    await expect(agentOf()).rejects.toMatchObject({ code: 'store-unavailable' })
    claim('a')
    expect(await agentOf()).toBeDefined()
  })
})
