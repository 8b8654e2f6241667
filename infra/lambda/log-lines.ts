/**
 * What a function says of itself: a line of JSON for each request and each fault, in which CloudWatch finds its metrics
 * (Embedded Metric Format, docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
 * Nothing of a request is in it but its method, the beginning of its path, its status and its time: no header, query, body or
 * name. A metric is billed for each hour in which it comes, so that of what did not happen nothing is said.
 */
import type { Clock } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import { faultText } from '../service-process.ts'

export type Unit = 'Count' | 'Milliseconds'
export type MetricName = 'Latency' | 'Shift' | 'Faults' | 'CapReached' | 'Waiting'

export interface LogLines {
  /** A request has come. @returns what is told when it is answered */
  begin(request: { readonly method: string; readonly path: string }): (status: number) => void
  /** A worker begins. @returns what is told when it rests */
  beginShift(): (isOver: boolean) => void
  /** A bug, or a store that does not answer, counts as a fault; what else may be answered with 5xx is another's. */
  readonly fault: (error: unknown) => void
  /** @param cap the owner's, of today */
  capReached(cap: string): void
  /** How long the oldest thing waits that is due. @param lateMs what is less goes without saying */
  waits(forMs: number, lateMs: number): void
}

export interface LogOptions {
  readonly clock: Pick<Clock, 'now'>
  /** The stack, by which its metrics are told from another's. */
  readonly stack: string
  /** Past the console, which Lambda would wrap into a line of its own. */
  readonly write: (line: string) => void
}

export const NAMESPACE = 'Raincheck'
export const DIMENSION = 'Stack'
const UNITS: Readonly<Record<MetricName, Unit>> = {
  Latency: 'Milliseconds',
  Shift: 'Milliseconds',
  Faults: 'Count',
  CapReached: 'Count',
  Waiting: 'Milliseconds',
}
/** Problems that nobody asked for: faults of ours, and a ledger that is not to be dealt with. */
const TO_TELL: ReadonlySet<string> = new Set(['internal', 'store-unavailable', 'log-forked', 'unwitnessed'])
/** Beginnings of paths that services have; anything else is a stranger's word. */
const KNOWN =
  /^\/(?:v1\/[a-z]{1,20}|\.well-known\/raincheck|healthz|openapi\.json|dashboard|checkpoint|tile|shard|supported|verify|settle|add-checkpoint)?(?=\/|$)/

export function createLogLines({ clock, stack, write }: LogOptions): LogLines {
  function say(level: 'INFO' | 'ERROR', members: object, metrics: Partial<Record<MetricName, number>> = {}): void {
    const timeMs = clock.now()
    const named = Object.keys(metrics) as MetricName[]
    const emf = named.length > 0 && { ...metrics, [DIMENSION]: stack, _aws: directive(timeMs, named) }
    write(`${JSON.stringify({ level, time: timeMs, ...members, ...emf })}\n`)
  }
  return {
    begin({ method, path }) {
      const startedMs = clock.now()
      const members = { event: 'request', method, path: KNOWN.exec(path)?.[0] ?? '' }
      return (status) => say('INFO', { ...members, status }, { Latency: clock.now() - startedMs })
    },
    beginShift() {
      const startedMs = clock.now()
      return (isOver) => say('INFO', { event: 'shift', isOver }, { Shift: clock.now() - startedMs })
    },
    fault(error) {
      const isOurs = !(error instanceof Problem) || TO_TELL.has(error.code)
      say('ERROR', { event: 'fault', message: faultText(error) }, isOurs ? { Faults: 1 } : {})
    },
    waits(forMs, lateMs) {
      if (forMs >= lateMs) say('INFO', { event: 'waiting' }, { Waiting: forMs })
    },
    capReached: (cap) => say('INFO', { event: 'cap-reached', cap }, { CapReached: 1 }),
  }
}

const directive = (timeMs: number, named: readonly MetricName[]) => ({
  Timestamp: timeMs,
  CloudWatchMetrics: [
    {
      Namespace: NAMESPACE,
      Dimensions: [[DIMENSION]],
      Metrics: named.map((name) => ({ Name: name, Unit: UNITS[name] })),
    },
  ],
})
