/**
 * A vouch graph from a seed, of any size: a few vouch for many and are vouched for by many, as in graphs of trust that
 * people made. The same seed makes the same graph, everywhere.
 *
 * As a program it writes the graph as CSV for `raincheck graph`: `node test/bench/made-graph.ts AGENTS VOUCHES [SEED]`.
 */
import type { VouchList } from '../../protocol/vouch-lists.ts'

export interface MadeGraph extends VouchList {
  readonly credits: Uint32Array
}

const MOST_CREDIT = 64
/** Of 16 vouches, how many name each depth. */
const DEPTHS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4]
const ROOT_SHARE = 40_000
/** Of a million agents the most drawn is drawn once in 300 times: 33,000 of ten million vouches. */
const SKEW = 2.4

/** Numbers below 1, by xorshift (Marsaglia 2003). */
export function drawing(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** Agent 0 is whom to look from: it vouches for 25 at least. */
export function madeGraph(agents: number, vouches: number, seed = 1): MadeGraph {
  const draw = drawing(seed)
  const issuers = new Uint32Array(vouches)
  const subjects = new Uint32Array(vouches)
  const depths = new Uint8Array(vouches)
  const credits = new Uint32Array(vouches)
  const roots = Math.max(25, Math.floor(vouches / ROOT_SHARE))
  const skewed = (): number => Math.floor(agents * draw() ** SKEW)
  for (let i = 0; i < vouches; i++) {
    const issuer = i < roots ? 0 : skewed()
    const subject = skewed()
    issuers[i] = issuer
    subjects[i] = subject === issuer ? (subject + 1) % agents : subject
    depths[i] = DEPTHS[Math.floor(draw() * DEPTHS.length)] as number
    credits[i] = 1 + Math.floor(draw() * MOST_CREDIT)
  }
  return { agents, issuers, subjects, depths, credits }
}

function* csv({ issuers, subjects, depths, credits }: MadeGraph): Generator<string> {
  yield 'issuer,subject,depth,credit\n'
  for (let i = 0; i < issuers.length; i++) yield `a${issuers[i]},a${subjects[i]},${depths[i]},${credits[i]}\n`
}

if (import.meta.main) {
  const [agents = 1000, vouches = 10_000, seed = 1] = process.argv.slice(2).map(Number)
  let text = ''
  for (const line of csv(madeGraph(agents, vouches, seed))) {
    text += line
    if (text.length < 2 ** 16) continue
    if (!process.stdout.write(text)) await new Promise((resolve) => process.stdout.once('drain', resolve))
    text = ''
  }
  process.stdout.write(text)
}
