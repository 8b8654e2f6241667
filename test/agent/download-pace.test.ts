import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createMeter, slowAmong, type SlowRule } from '../../agent/download/pace.ts'

function clockAt(startMs: number) {
  let nowMs = startMs
  return { now: () => nowMs, sleep: () => Promise.resolve(), pass: (ms: number) => void (nowMs += ms) }
}

describe('a meter', () => {
  it('tells the rate of a steady flow, from the first second on', () => {
    const clock = clockAt(1000)
    const meter = createMeter(clock, 5_000)
    for (let seconds = 1; seconds <= 60; seconds++) {
      for (let i = 0; i < 10; i++) {
        clock.pass(100)
        meter.add(1_000)
      }
      expect(meter.rate()).toBeGreaterThan(9_500)
      expect(meter.rate()).toBeLessThan(11_500)
    }
  })

  it('follows a change within seconds, and falls when nothing comes', () => {
    const clock = clockAt(0)
    const meter = createMeter(clock, 5_000)
    const flow = (bytes: number) => {
      for (let i = 0; i < 200; i++) {
        clock.pass(100)
        meter.add(bytes)
      }
    }
    flow(10_000)
    flow(1_000)
    expect(meter.rate()).toBeLessThan(13_000)
    clock.pass(60_000)
    expect(meter.rate()).toBeLessThan(10)
  })

  it('keeps its rate in a pause, and begins anew after it', () => {
    const clock = clockAt(0)
    const meter = createMeter(clock, 5_000)
    clock.pass(1_000)
    meter.add(50_000)
    meter.stop()
    const rate = meter.rate()
    clock.pass(100_000)
    expect(meter.rate()).toBe(rate)
    expect(meter.ageMs()).toBe(0)
    meter.start()
    clock.pass(1_000)
    expect(meter.ageMs()).toBe(1_000)
    expect(meter.rate()).toBe(0)
  })
})

describe('the slow', () => {
  const rule: SlowRule = { afterMs: 5_000, floorBytesPerSecond: 1_000, share: 0.25 }
  const pace = (id: string, bytesPerSecond: number, ageMs = 10_000) => ({ id, bytesPerSecond, ageMs })

  it('are well under the median of the others and under the floor', () => {
    expect(slowAmong([pace('a', 10_000), pace('b', 8_000), pace('c', 900)], rule)).toEqual(['c'])
    expect(slowAmong([pace('a', 10_000), pace('b', 8_000), pace('c', 1_100)], rule)).toEqual([])
    expect(slowAmong([pace('a', 900), pace('b', 800), pace('c', 700)], rule)).toEqual([])
  })

  it('are not judged too early, nor alone, nor in a pause', () => {
    expect(slowAmong([pace('a', 10_000), pace('b', 0, 4_000)], rule)).toEqual([])
    expect(slowAmong([pace('a', 0)], rule)).toEqual([])
    expect(slowAmong([pace('a', 10_000), pace('b', 10, 0)], rule)).toEqual([])
    expect(slowAmong([pace('a', 10_000, 0), pace('b', 10)], rule)).toEqual(['b'])
  })

  it('are never all', () => {
    const paces = fc.array(fc.nat(100_000), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(paces, (rates) => {
        const all = rates.map((rate, i) => pace(String(i), rate))
        expect(slowAmong(all, rule).length).toBeLessThan(all.length)
      }),
    )
  })
})
