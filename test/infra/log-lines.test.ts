import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createLogLines, type LogLines } from '../../infra/lambda/log-lines.ts'
import { Problem } from '../../protocol/problem.ts'

/** CloudWatch's own document of a line with metrics: nothing but these members, each as it must be. */
const embedded = z.looseObject({
  level: z.enum(['INFO', 'ERROR']),
  time: z.int(),
  Stack: z.string().min(1).max(1024),
  _aws: z.strictObject({
    Timestamp: z.int().positive(),
    CloudWatchMetrics: z.array(
      z.strictObject({
        Namespace: z.string().min(1).max(1024),
        Dimensions: z.array(z.array(z.string().min(1)).max(30)).min(1),
        Metrics: z
          .array(z.strictObject({ Name: z.string().min(1), Unit: z.enum(['Count', 'Milliseconds']) }))
          .min(1)
          .max(100),
      }),
    ),
  }),
})

function lines(): { log: LogLines; said: () => Record<string, unknown>[]; pass: (ms: number) => void } {
  let nowMs = 1_800_000_000_000
  const written: string[] = []
  const log = createLogLines({ clock: { now: () => nowMs }, stack: 'agent', write: (line) => void written.push(line) })
  const said = () =>
    written.map((line) => {
      expect(line).toMatch(/^[^\n]*\n$/)
      return JSON.parse(line) as Record<string, unknown>
    })
  return { log, said, pass: (ms) => void (nowMs += ms) }
}

/** What the metrics of a line name is among its members, as a number; so are the dimensions, as texts. */
function metricsIn(line: Record<string, unknown>): Record<string, unknown> {
  const { _aws: directive } = embedded.parse(line)
  const { CloudWatchMetrics } = directive
  const named = CloudWatchMetrics.flatMap(({ Metrics }) => Metrics)
  for (const name of CloudWatchMetrics.flatMap(({ Dimensions }) => Dimensions.flat())) {
    expect(typeof line[name]).toBe('string')
  }
  return Object.fromEntries(named.map(({ Name }) => [Name, line[Name]]))
}

describe('a line of the log', () => {
  it('carries the time of a request as a metric', () => {
    const { log, said, pass } = lines()
    const answered = log.begin({ method: 'GET', path: '/v1/pieces/8fec2065ac812a718be4d8b5/7' })
    pass(120)
    answered(402)
    const [line = {}] = said()
    expect(line).toMatchObject({ event: 'request', method: 'GET', path: '/v1/pieces', status: 402 })
    expect(metricsIn(line)).toEqual({ Latency: 120 })
  })

  it('carries the time of a shift, and whether it was the last', () => {
    const { log, said, pass } = lines()
    const ended = log.beginShift()
    pass(600_000)
    ended(false)
    expect(metricsIn(said()[0] ?? {})).toEqual({ Shift: 600_000 })
    expect(said()[0]).toMatchObject({ event: 'shift', isOver: false })
  })

  it('says nothing of a request but what the service itself is known for', () => {
    const known = /^(?:|\/|\/v1\/[a-z]{1,20}|\/[a-z.-]+(?:\/raincheck)?)$/
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), fc.boolean(), (text, isDeep) => {
        const path = isDeep ? `/v1/${text}` : `/${text}`
        const { log, said } = lines()
        log.begin({ method: 'GET', path })(404)
        expect(String(said()[0]?.['path'])).toMatch(known)
      }),
    )
    const { log, said } = lines()
    for (const path of ['/secret-of-mine', '/v1/links/holidays', '/v1/x1y2z3', '/v1/claimAB/x']) {
      log.begin({ method: 'GET', path })(404)
    }
    expect(said().map(({ path }) => path)).toEqual(['', '/v1/links', '', ''])
  })

  it('counts our own faults and those of a ledger that is not to be dealt with, and no one else’s', () => {
    const { log, said } = lines()
    log.fault(new TypeError('x is undefined'))
    log.fault(new Problem('store-unavailable', 'The table throttles.'))
    log.fault(new Problem('log-forked', 'The ledger has shown two histories.'))
    log.fault(new Problem('storage-parked', 'The drive’s quota is used up.'))
    const [bug = {}, store = {}, ledger = {}, drive = {}] = said()
    for (const one of [bug, store, ledger]) expect(metricsIn(one)).toEqual({ Faults: 1 })
    expect(drive).toMatchObject({ level: 'ERROR', event: 'fault' })
    expect(drive).not.toHaveProperty('_aws')
  })

  it('tells how long something waits once that is too long', () => {
    const { log, said } = lines()
    log.waits(89_999, 90_000)
    log.waits(90_000, 90_000)
    expect(said()).toHaveLength(1)
    expect(metricsIn(said()[0] ?? {})).toEqual({ Waiting: 90_000 })
  })

  it('tells that a cap is reached', () => {
    const { log, said } = lines()
    log.capReached('serve')
    expect(metricsIn(said()[0] ?? {})).toEqual({ CapReached: 1 })
    expect(said()[0]).toMatchObject({ cap: 'serve' })
  })
})
