/** `raincheck graph`: what a root would trust in any vouch graph, and whom it would lose, without a network. */
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  countByDepth,
  distrust,
  evaluate,
  residualOf,
  trustGraph,
  unvouch,
  type TrustGraph,
} from '../../protocol/trust-graph.ts'
import { readVouchCsv } from './vouch-csv.ts'

export interface GraphArgs {
  /** CSV with the columns issuer, subject, depth, credit. */
  readonly path: string
  readonly root: string
  /** The root's own residual depth; `limits.vouchDepth` unless given. */
  readonly depth?: number
  /** Agents to distrust. One that nobody vouches for changes nothing. */
  readonly distrust?: readonly string[]
  /** Vouches to take away, as `ISSUER,SUBJECT`. */
  readonly unvouch?: readonly string[]
}

export interface GraphIo {
  read(path: string): AsyncIterable<Uint8Array>
  /** Of any origin, with fractions of a millisecond: a small graph takes less than one. */
  monotonicMs(): number
}

export interface GraphReport {
  readonly agents: number
  readonly vouches: number
  /** Trusted agents once all is pruned, the root aside. */
  readonly trusted: number
  /** The same, by residual depth. */
  readonly byDepth: Readonly<Record<string, number>>
  /** Those that were trusted and are no longer, pruned ones among them. */
  readonly lost: readonly string[]
  /** Those to distrust that are not in the graph. */
  readonly unknown?: readonly string[]
  readonly evaluateMs: number
  readonly pruneMs: number
}

/** @throws Problem `bad-request` for a malformed line or option, `not-found` when the root or a vouch to take away is not in the graph, or the file cannot be read */
export async function graph(args: GraphArgs, io: GraphIo): Promise<{ json: GraphReport; text: string }> {
  const depth = args.depth ?? limits.vouchDepth
  if (!Number.isInteger(depth) || depth < 0 || depth > limits.vouchDepth) {
    throw new Problem('bad-request', `--depth is 0 to ${limits.vouchDepth}.`)
  }
  const { vouches, names } = await readVouchCsv(io.read(args.path)).catch((error: unknown) =>
    unreadable(args.path, error),
  )
  const agent = (name: string): number => names.find(name) ?? missing(`${name} is not in the graph.`)
  const prunes = [
    ...(args.distrust ?? []).map((name) => distrustOf(names.find(name))),
    ...(args.unvouch ?? []).map((pair) => unvouchOf(pair, agent)),
  ]

  const root = agent(args.root)
  const start = io.monotonicMs()
  const trust = trustGraph(vouches, root, depth)
  evaluate(trust)
  const evaluated = io.monotonicMs()
  const lost = prune(trust, prunes)
  const pruned = io.monotonicMs()

  const counts = countByDepth(trust)
  const unknown = (args.distrust ?? []).filter((name) => names.find(name) === undefined)
  const json = {
    agents: vouches.agents,
    vouches: vouches.issuers.length,
    trusted: counts.reduce((sum, count) => sum + count, 0),
    byDepth: Object.fromEntries(counts.entries()),
    lost: lost.map((each) => names.nameOf(each)),
    ...(unknown.length > 0 && { unknown }),
    evaluateMs: evaluated - start,
    pruneMs: pruned - evaluated,
  }
  return { json, text: describe(json) }
}

type Prune = (trust: TrustGraph) => readonly number[]

const distrustOf =
  (agent: number | undefined): Prune =>
  (trust) =>
    agent === undefined ? [] : distrust(trust, agent)

function unvouchOf(pair: string, agentOf: (name: string) => number): Prune {
  const [issuer, subject, ...rest] = pair.split(',').map((name) => name.trim())
  if (!issuer || !subject || rest.length > 0) throw new Problem('bad-request', '--unvouch takes ISSUER,SUBJECT.')
  const [from, to] = [agentOf(issuer), agentOf(subject)]
  return (trust) => unvouch(trust, from, to)
}

/** A later change may only lose more: none of these adds a vouch. */
const prune = (trust: TrustGraph, prunes: readonly Prune[]): number[] =>
  [...new Set(prunes.flatMap((change) => change(trust)))].filter((agent) => residualOf(trust, agent) < 0)

function describe(report: GraphReport): string {
  const depths = Object.entries(report.byDepth).map(([depth, count]) => `${count} at depth ${depth}`)
  const lines = [
    `${report.agents} agents, ${report.vouches} vouches; ${report.trusted} trusted (${depths.join(', ')})`,
    `${report.lost.length} lost${report.lost.length > 0 ? `: ${report.lost.slice(0, SHOWN).join(' ')}` : ''}`,
    ...(report.unknown ?? []).map((name) => `${name} is not in the graph: to distrust it changes nothing`),
    `evaluated in ${report.evaluateMs.toFixed(1)} ms, pruned in ${report.pruneMs.toFixed(3)} ms`,
  ]
  return lines.join('\n')
}

const SHOWN = 20

/** Files fail with a code of the system's, such as ENOENT. */
function unreadable(path: string, error: unknown): never {
  if (error instanceof Problem || !(error instanceof Error && 'syscall' in error)) throw error
  throw new Problem('not-found', `${path} cannot be read: ${error.message}.`)
}

function missing(detail: string): never {
  throw new Problem('not-found', detail)
}
