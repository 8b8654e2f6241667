import { describe, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { scratch } from '../local/scratch.ts'
import { raincheck } from './town.ts'

/** A title, a cleared screen, a clipboard, and text that runs backwards. */
const ORDERS = '\u001b]0;mine\u0007\u001b[2J\u009b2J\u001b]52;c;eA==\u0007\u202e'
const TAKEN = /(?!\n)\p{Cc}|\u202e/u
const home = scratch()()
/** An agent, or whoever answers in its place. */
const transport = async () => Response.json({ code: 'conflict', detail: `${ORDERS}\nfilm 👨‍👩‍👧 旅` }, { status: 409 })
const io = { environment: { ...realEnvironment(), transport }, agentUrl: 'https://agent.example' }

describe('what somebody else wrote', () => {
  test('gives no orders to the terminal, and is told', async () => {
    await raincheck(home, ['init'])
    const said = await raincheck(home, ['balance'], io)
    expect(said.err).not.toMatch(TAKEN)
    expect(said.err).toContain('film 👨‍👩‍👧 旅')
  })

  test('is the same in JSON', async () => {
    const said = await raincheck(home, ['balance', '--json'], io)
    expect(said.out).not.toMatch(TAKEN)
    expect(said.json<{ detail: string }>().detail).toContain(ORDERS)
  })
})
