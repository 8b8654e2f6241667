import { describe, expect, test } from 'vitest'
import { createRounds, type Part } from '../../agent/dashboard/rounds.js'

const PARTS: readonly Part[] = ['guard', 'balance', 'downloads', 'shares', 'links']

/** How often a page asks for each part in a minute, looking each second. */
function asked(isMoving: boolean): Record<Part, number> {
  const rounds = createRounds()
  const counts = { guard: 0, balance: 0, downloads: 0, shares: 0, links: 0 }
  for (let nowMs = 0; nowMs < 60_000; nowMs += 1000) for (const part of rounds.take(nowMs, isMoving)) counts[part]++
  return counts
}

describe('a page that somebody looks at', () => {
  test('asks for less than one thing a second, as each is paid for in the cloud', () => {
    expect(asked(false)).toEqual({ guard: 12, balance: 12, downloads: 12, shares: 12, links: 2 })
  })

  test('follows a download second by second', () => {
    expect(asked(true)).toEqual({ guard: 12, balance: 12, downloads: 60, shares: 12, links: 2 })
  })

  test('asks for everything at first, and at once when something was done', () => {
    const rounds = createRounds()
    expect(rounds.take(0, false)).toEqual(PARTS)
    expect(rounds.take(1000, false)).toEqual([])
    rounds.restart()
    expect(rounds.take(1000, false)).toEqual(PARTS)
  })
})
