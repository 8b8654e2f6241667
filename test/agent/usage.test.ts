import { expect, it } from 'vitest'
import type { AgentContext } from '../../agent/context.ts'
import { createUsage } from '../../agent/usage.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { handClock, START_MS } from './hand-clock.ts'

it('what could not be saved while the store was away is saved when it is back, once', async () => {
  const inner = openSqlite(':memory:')
  let isAway = false
  const store: Store = {
    ...inner,
    get: async (pk, sk) => {
      if (isAway) throw new Problem('store-unavailable', 'Away.')
      return inner.get(pk, sk)
    },
  }
  const open = () => createUsage({ environment: { clock: handClock() }, store } as unknown as AgentContext)
  const usage = open()
  usage.served('peer', 5)
  isAway = true
  await expect(usage.flush()).rejects.toMatchObject({ code: 'store-unavailable' })
  usage.served('peer', 2)
  isAway = false
  await usage.flush()
  await usage.flush()
  expect(await open().since(START_MS)).toMatchObject({ served: 7 })
})
