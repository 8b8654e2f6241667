/** What a seed makes happen: who there is, what they have and want, and everything that goes wrong. */
import type { LaneMode } from '../../protocol/commitment.ts'
import type { Chance } from './chance.ts'
import { NO_FAULTS, type Faults } from './host.ts'
import { ledgerHosts, witnessHosts, type LedgerPlan } from './ledgers.ts'
import { MISCHIEFS, type Mischief } from './mischief.ts'
import { CALM, type Weather } from './network.ts'

export interface Sale {
  /** Index of the content. */
  readonly content: number
  readonly price: bigint
  readonly isPublic: boolean
  /** It is sold from the start to the end. */
  readonly isFirst: boolean
}

export interface Purchase {
  readonly content: number
  readonly atMs: number
  readonly maxPrice: bigint | undefined
  /** What its owner does next, and how long after. */
  readonly next: readonly { readonly action: 'pause' | 'resume' | 'cancel'; readonly afterMs: number }[]
}

export interface VouchPlan {
  readonly subject: string
  readonly credit: number
  readonly depth: number
}

export interface AgentPlan {
  readonly name: string
  readonly mischief: Mischief | undefined
  readonly modes: readonly LaneMode[]
  readonly sales: readonly Sale[]
  readonly purchases: readonly Purchase[]
  readonly vouches: readonly VouchPlan[]
  /** Starts to sell so late. */
  readonly lateMs: number
  /** What the agent may freeze at first, in credits, and when its owner allows it more. */
  readonly allowance: { readonly credits: bigint; readonly untilMs: number } | undefined
}

/** Something that befalls one host. */
export interface Incident {
  readonly host: string
  readonly atMs: number
  readonly event:
    | { readonly kind: 'crash'; readonly downMs: number }
    | { readonly kind: 'restart' | 'redeem' | 'vanish' }
    | { readonly kind: 'clock'; readonly byMs: number }
    /** The seller asks another price for one of its sales; another program overwrites its files. */
    | { readonly kind: 'reprice'; readonly sale: number; readonly price: bigint }
    | { readonly kind: 'overwrite'; readonly sale: number }
    | { readonly kind: 'full'; readonly forMs: number }
}

export interface Scenario {
  /** Nothing goes wrong at all. */
  readonly isQuiet: boolean
  readonly contents: number
  readonly agents: readonly AgentPlan[]
  readonly weather: Weather
  readonly faults: Readonly<Record<'agent' | 'ledger' | 'repository', Faults>>
  readonly incidents: readonly Incident[]
  /** Tricks that the freeloader tries. */
  readonly tricks: number
  readonly hasFence: boolean
  readonly ledger: LedgerPlan
  readonly stormMs: number
}

export const FREELOADER = 'freeloader'
const NAMES = ['ann', 'bob', 'cid', 'dee', 'eve'] as const
const QUIET = 1 / 8
/** The ledger's and the repository's clocks, and an agent's, are wrong by so much at most. */
export const MOST_SKEW_MS = 40_000

export function createScenario(chance: Chance): Scenario {
  const isQuiet = chance.hits(QUIET)
  const contents = chance.integer(1, 4)
  const count = chance.integer(3, NAMES.length)
  const crooks = isQuiet ? 0 : Math.min(count - 2, chance.pick([0, 1, 1, 2]))
  const honest = count - crooks
  const stormMs = chance.integer(30_000, 90_000)
  const agents = NAMES.slice(0, count).map((name, i) =>
    i < honest
      ? honestAgent(chance.fork(name), { name, number: i, honest, contents, stormMs, isQuiet })
      : crook(chance.fork(name), { name, contents, stormMs }),
  )
  const ledger = ledgerOf(chance.fork('ledger'))
  return {
    isQuiet,
    ledger,
    contents,
    agents,
    stormMs,
    weather: isQuiet ? CALM : weatherOf(chance.fork('weather')),
    faults: isQuiet ? noFaults : faultsOf(chance.fork('faults')),
    incidents: isQuiet ? [] : incidentsOf(chance.fork('incidents'), agents, ledger, stormMs),
    tricks: isQuiet ? 0 : chance.pick([0, 4, 11]),
    hasFence: !isQuiet && chance.hits(0.4),
  }
}

interface Place {
  readonly name: string
  readonly contents: number
  readonly stormMs: number
}

/** Each content has its first seller, who is honest, there from the start, and within everyone's means. */
function honestAgent(
  chance: Chance,
  { name, number, honest, contents, stormMs, isQuiet }: Place & { number: number; honest: number; isQuiet: boolean },
): AgentPlan {
  const all = Array.from({ length: contents }, (_, content) => content)
  const first = all.filter((content) => content % honest === number)
  const also = all.filter((content) => !first.includes(content) && chance.hits(0.3))
  const wanted = all.filter((content) => !first.includes(content) && !also.includes(content))
  const late = !isQuiet && chance.hits(0.2) ? chance.integer(0, stormMs) : 0
  return {
    name,
    mischief: undefined,
    modes: modesOf(chance, 0.5),
    sales: [...first, ...also].map((content) => saleOf(chance, content, first.includes(content))),
    purchases: wanted.filter(() => chance.hits(0.9)).map((content) => purchaseOf(chance, content, stormMs, isQuiet)),
    vouches: [...NAMES, FREELOADER]
      .filter((other) => other !== name && chance.hits(0.4))
      .map((subject) => vouchFor(chance, subject)),
    lateMs: first.length > 0 ? 0 : late,
    allowance:
      isQuiet || chance.hits(0.8)
        ? undefined
        : { credits: BigInt(chance.integer(0, 30)), untilMs: chance.integer(0, stormMs) },
  }
}

/** Sells everything, and cheaply. */
const crook = (chance: Chance, { name, contents, stormMs }: Place): AgentPlan => ({
  name,
  mischief: chance.pick(MISCHIEFS),
  modes: modesOf(chance, 0.7),
  sales: Array.from({ length: contents }, (_, content) => ({
    content,
    price: BigInt(chance.integer(chance.hits(0.2) ? 0 : 1, 3)),
    isPublic: chance.hits(0.1),
    isFirst: false,
  })),
  purchases: [],
  vouches: [],
  lateMs: chance.hits(0.3) ? chance.integer(0, stormMs / 2) : 0,
  allowance: undefined,
})

/** Sealed is what is asked for before prepaid, where both are to be had. */
const modesOf = (chance: Chance, sealed: number): readonly LaneMode[] =>
  chance.hits(sealed) ? ['credit', 'prepaid', 'sealed'] : ['credit', 'prepaid']

/** Nobody asks more, and nobody wants to pay less. */
const MOST_PRICE = 9

const priceOf = (chance: Chance): bigint => BigInt(chance.integer(chance.hits(0.1) ? 0 : 1, MOST_PRICE))

const saleOf = (chance: Chance, content: number, isFirst: boolean): Sale => ({
  content,
  price: priceOf(chance),
  isPublic: chance.hits(0.15),
  isFirst,
})

function purchaseOf(chance: Chance, content: number, stormMs: number, isQuiet: boolean): Purchase {
  const soon = () => chance.integer(50, 15_000)
  const pause = [
    { action: 'pause', afterMs: soon() },
    { action: 'resume', afterMs: soon() },
  ] as const
  const cancel = [{ action: 'cancel', afterMs: soon() }] as const
  return {
    content,
    atMs: chance.integer(0, stormMs / 2),
    maxPrice: chance.hits(0.3) ? BigInt(MOST_PRICE) : undefined,
    next: isQuiet ? [] : [...(chance.hits(0.25) ? pause : []), ...(chance.hits(0.15) ? cancel : [])],
  }
}

const vouchFor = (chance: Chance, subject: string): VouchPlan => ({
  subject,
  credit: chance.integer(1, 6),
  depth: chance.integer(0, 3),
})

function weatherOf(chance: Chance): Weather {
  const some = (most: number) => (chance.hits(0.6) ? chance.fraction() * most : 0)
  return {
    delayMs: [1, chance.pick([5, 50, 400])],
    late: some(0.1),
    lateMs: chance.pick([500, 5_000, 20_000]),
    lost: some(0.12),
    twice: some(0.2),
    torn: some(0.1),
  }
}

const noFaults = { agent: NO_FAULTS, ledger: NO_FAULTS, repository: NO_FAULTS }

function faultsOf(chance: Chance): Scenario['faults'] {
  const some = (most: number) => (chance.hits(0.5) ? chance.fraction() * most : 0)
  const one = (): Faults => ({
    fails: some(0.04),
    crashes: some(0.03),
    slow: chance.pick([0, 0.05, 0.3]),
    slowMs: chance.pick([5, 60]),
  })
  return { agent: one(), ledger: one(), repository: one() }
}

/** Many have one process and no witness. */
const ledgerOf = (chance: Chance): LedgerPlan => ({
  processes: chance.integer(1, 2),
  witnesses: chance.pick([0, 0, 1, 2]),
  shards: chance.pick([1, 1, 1, 2]),
})

function incidentsOf(chance: Chance, agents: readonly AgentPlan[], ledger: LedgerPlan, stormMs: number): Incident[] {
  const places = agents.map(({ name }) => hostOf(name))
  const services = [...ledgerHosts(ledger), ...witnessHosts(ledger), 'repository']
  const hosts = [...services, ...places]
  const some = (most: number, from: readonly string[], make: () => Incident['event']): Incident[] =>
    Array.from({ length: chance.integer(0, most) }, () => ({
      host: chance.pick(from),
      atMs: chance.integer(0, stormMs),
      event: make(),
    }))
  const vanishing = agents.filter(({ mischief }) => mischief === 'vanish')
  return [
    ...vanishing.map(({ name }): Incident => ({
      host: hostOf(name),
      atMs: chance.integer(0, stormMs),
      event: { kind: 'vanish' },
    })),
    ...some(5, hosts, () => ({ kind: 'crash', downMs: chance.integer(0, 30_000) })),
    ...some(3, ledgerHosts(ledger), () => ({ kind: 'crash', downMs: chance.integer(10_000, 60_000) })),
    ...some(2, hosts, () => ({ kind: 'restart' })),
    ...some(3, hosts, () => ({ kind: 'clock', byMs: chance.integer(-MOST_SKEW_MS, MOST_SKEW_MS) })),
    ...some(2, places, () => ({ kind: 'redeem' })),
    ...(chance.hits(0.2) ? some(1, places, () => ({ kind: 'full', forMs: chance.integer(0, 20_000) })) : []),
    ...agents.flatMap((plan) => saleIncidents(chance, plan, stormMs)),
  ]
}

const hostOf = (name: string): string => `${name}.example.org`

/** Only what another honest agent sells too is overwritten. */
function saleIncidents(chance: Chance, { name, mischief, sales }: AgentPlan, stormMs: number): Incident[] {
  if (mischief !== undefined) return []
  const at = () => ({ host: hostOf(name), atMs: chance.integer(0, stormMs) })
  return sales.flatMap(({ isPublic, isFirst }, sale): Incident[] => {
    if (!isPublic && chance.hits(0.15)) return [{ ...at(), event: { kind: 'reprice', sale, price: priceOf(chance) } }]
    return !isFirst && chance.hits(0.15) ? [{ ...at(), event: { kind: 'overwrite', sale } }] : []
  })
}
