import { describe, expect, it } from 'vitest'
import type { LedgerClient } from '../../agent/clients/ledger-client.ts'
import type { Home } from '../../agent/home.ts'
import { changeKeys } from '../../agent/key-change.ts'
import type { Environment } from '../../protocol/environment.ts'
import { genesis, replay, rotate } from '../../protocol/identity.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'

const NOW_MS = Date.UTC(2030, 0, 1)
const signerOf = (byte: number) => signerFrom(new Uint8Array(32).fill(byte))
const first = genesis([signerOf(1)], NOW_MS)
const state = replay([first], NOW_MS)

/** Each change that is made is to another key, and the ledger has this to say of the next one. */
function desk() {
  const kept: { change?: readonly Envelope[] | undefined; taken?: readonly Envelope[] | undefined } = {}
  const faults: Problem[] = []
  let made = 0
  const home = {
    change: async () => kept.change,
    saveChange: async (operations: readonly Envelope[]) => void (kept.change = operations),
    takeChange: async () => void Object.assign(kept, { taken: kept.change, change: undefined }),
    dropChange: async () => void (kept.change = undefined),
  } as Partial<Home> as Home
  const rotated = async () => {
    const fault = faults.shift()
    if (fault) throw fault
  }
  const ledger = { register: async () => undefined, rotate: rotated } as unknown as LedgerClient
  const change = () =>
    changeKeys({
      home,
      environment: { clock: { now: () => NOW_MS } } as Environment,
      keepers: { ledger },
      make: async () => [first, rotate(state, [signerOf(10 + ++made).key], NOW_MS, signerOf(1))],
      state: async () => state,
    })
  const refused = async (code: ProblemCode): Promise<void> => {
    faults.push(new Problem(code, 'Not now.'))
    await expect(change()).rejects.toMatchObject({ code })
    expect(kept.taken).toBeUndefined()
  }
  return { kept, change, refused }
}

describe('a change of keys', () => {
  it('is the same when it is asked for again, as a keeper that did not answer may have taken it', async () => {
    const { kept, change, refused } = desk()
    await refused('peer-failed')
    expect((await change()).keys).toEqual([signerOf(11).key])
    expect(kept).toMatchObject({ change: undefined, taken: [first, expect.anything()] })
  })

  it.each<ProblemCode>(['conflict', 'unknown-key'])(
    'is made anew where a keeper says %s: it can never be',
    async (code) => {
      const { change, refused } = desk()
      await refused(code)
      expect((await change()).keys).toEqual([signerOf(12).key])
    },
  )
})
