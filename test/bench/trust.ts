/** How fast a graph of a million agents and ten million vouches is evaluated and changed, on one core, and what it takes. */
import {
  countByDepth,
  creditOf,
  distrust,
  evaluate,
  residualOf,
  trustGraph,
  undistrust,
  unvouch,
  vouch,
  type TrustGraph,
} from '../../protocol/trust-graph.ts'
import { median, type BenchOptions, type Figure } from './figure.ts'
import { drawing, madeGraph, type MadeGraph } from './made-graph.ts'

const AGENTS = 1_000_000
const VOUCHES = 10_000_000
const CHANGES = 20_000
const SEED = 7

export async function trust({ runs, ...io }: BenchOptions): Promise<readonly Figure[]> {
  const made = madeGraph(AGENTS, VOUCHES)
  const full: number[] = []
  let graph = trustGraph(made, 0)
  for (let run = 0; run < runs; run++) {
    const startMs = performance.now()
    graph = trustGraph(made, 0)
    evaluate(graph)
    full.push((performance.now() - startMs) / 1000)
  }
  const { rss, arrayBuffers } = process.memoryUsage()
  const trusted = countByDepth(graph).reduce((sum, count) => sum + count, 0)
  io.say(`${trusted} of ${AGENTS} agents are trusted: ${countByDepth(graph).join(', ')} by depth`)
  const revokes = timesOf(revoking(graph, made))
  const prunes = timesOf(pruning(graph))
  const credits = timesOf(asking(graph))
  io.say(`the slowest revoke took ${at(revokes, 1).toFixed(0)} µs, the slowest prune ${at(prunes, 1).toFixed(0)} µs`)
  requireSame(graph)
  return [
    { name: 'trust-evaluate', unit: 's, index and evaluation', value: median(full), runs },
    { name: 'trust-revoke-p50', unit: 'µs', value: at(revokes, 0.5), runs: CHANGES },
    { name: 'trust-revoke-p99', unit: 'µs', value: at(revokes, 0.99), runs: CHANGES },
    { name: 'trust-prune-p50', unit: 'µs', value: at(prunes, 0.5), runs: CHANGES },
    { name: 'trust-prune-p99', unit: 'µs', value: at(prunes, 0.99), runs: CHANGES },
    { name: 'trust-credit-p50', unit: 'µs', value: at(credits, 0.5), runs: CHANGES },
    { name: 'trust-credit-p99', unit: 'µs', value: at(credits, 0.99), runs: CHANGES },
    { name: 'trust-memory', unit: 'MB of arrays, the list among them', value: arrayBuffers / 1e6, runs: 1 },
    { name: 'trust-rss', unit: 'MB', value: rss / 1e6, runs: 1 },
  ]
}

/** One timed change after the other, each undone out of the time. */
interface Timed {
  readonly run: () => void
  readonly undo: () => void
}

function* revoking(graph: TrustGraph, { issuers, subjects, depths }: MadeGraph): Generator<Timed> {
  const draw = drawing(SEED)
  for (let i = 0; i < CHANGES; i++) {
    const each = Math.floor(draw() * VOUCHES)
    const [issuer, subject, depth] = [issuers[each] as number, subjects[each] as number, depths[each] as number]
    yield { run: () => unvouch(graph, issuer, subject), undo: () => vouch(graph, issuer, subject, depth) }
  }
}

function* pruning(graph: TrustGraph): Generator<Timed> {
  for (const agent of trustedAgents(graph)) {
    yield { run: () => distrust(graph, agent), undo: () => undistrust(graph, agent) }
  }
}

function* asking(graph: TrustGraph): Generator<Timed> {
  for (const agent of trustedAgents(graph)) yield { run: () => creditOf(graph, agent), undo: () => undefined }
}

function* trustedAgents(graph: TrustGraph): Generator<number> {
  const draw = drawing(SEED)
  for (let found = 0; found < CHANGES;) {
    const agent = Math.floor(draw() * AGENTS)
    if (agent === graph.root || residualOf(graph, agent) < 0) continue
    found++
    yield agent
  }
}

/** Microseconds, in order. */
function timesOf(changes: Iterable<Timed>): Float64Array {
  const times = new Float64Array(CHANGES)
  let i = 0
  for (const { run, undo } of changes) {
    const startMs = performance.now()
    run()
    times[i++] = (performance.now() - startMs) * 1000
    undo()
  }
  return times.subarray(0, i).toSorted()
}

const at = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** After all changes: what a full evaluation finds. */
function requireSame(graph: TrustGraph): void {
  const kept = graph.residual.slice()
  evaluate(graph)
  if (!kept.every((residual, agent) => residual === graph.residual[agent])) {
    throw new Error('the changes left another graph than a full evaluation finds')
  }
}
