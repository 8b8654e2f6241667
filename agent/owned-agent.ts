/** The agent of a deployment, whose instances live for as long as events come: each goes by the owner's newest word. */
import type { Clock } from '../protocol/environment.ts'
import type { Agent } from './agent.ts'
import type { Claims, Owned } from './claim.ts'

export interface OwnedAgentParts {
  readonly clock: Pick<Clock, 'now'>
  readonly claims: Pick<Claims, 'current'>
  readonly open: (owned: Owned) => Promise<Agent>
}

interface Opened {
  readonly owned: Owned
  readonly agent: Agent
  readonly lookedMs: number
}

/** How long an instance may not know that its owner has other keys, or lets it do something else. */
const NEWS_MS = 2_000

/** @returns for each event the agent, made anew when its owner has claimed it anew; undefined while it has none */
export function createOwnedAgent({ clock, claims, open }: OwnedAgentParts): () => Promise<Agent | undefined> {
  let opened: Opened | undefined
  let looking: Promise<Agent | undefined> | undefined

  async function look(): Promise<Agent | undefined> {
    const lookedMs = clock.now()
    const owned = await claims.current()
    if (opened && opened.owned !== owned) {
      const { agent } = opened
      opened = undefined
      await agent.stop()
    }
    if (!owned) return undefined
    opened = { owned, agent: opened?.agent ?? (await open(owned)), lookedMs }
    return opened.agent
  }

  return async () => {
    if (opened && clock.now() - opened.lookedMs < NEWS_MS) return opened.agent
    looking ??= look().finally(() => (looking = undefined))
    return looking
  }
}
