/**
 * The paying side: what is frozen for a download and handed out to its sellers. A declaration freezes units at one
 * price; lanes are runs of its segments, handed out as sellers prove themselves. Everything is durable before it leaves,
 * and the seed of a tick chain is derived from the agent's key and the declaration's nonce: after a crash the same lanes go on.
 */
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { commit, type LaneMode } from '../../protocol/commitment.ts'
import { limits } from '../../protocol/limits.ts'
import type { Chain } from '../../protocol/payword.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, objectId, type Signer } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import type { Journal } from '../download/journal.ts'
import { decodeRecord } from '../records.ts'
import { chainOf, declarationEntry, makeDeclaration, type DeclarationRecord } from './declaration.ts'
import { createLane, laneEntry, walletKey, type Lane, type LaneRecord } from './lane.ts'
import type { Grievance } from './disputes.ts'
import { mayBeShown } from './opening.ts'
import { createParking, type Parking } from './parked.ts'
import { createSettler, isUsed, type Settler } from './settle.ts'

export interface LaneTerms {
  /** v2 info hash, hex. */
  readonly content: string
  /** The piece length. */
  readonly unitBytes: number
  /** Credits a unit. */
  readonly price: bigint
  /** The seller's id, hex, and where it is reached. */
  readonly payee: string
  readonly url: string
  readonly mode: LaneMode
  /** The longest segment that the seller takes. */
  readonly segmentMax: number
  /** Units the lane should have; it has one segment at least. */
  readonly units: number
  /** Units to freeze when a declaration must be made: the pieces that no lane covers, and those of this lane at least. */
  readonly unitsLeft: number
}

/** The wallet as one download sees it. */
export interface Purse {
  readonly lanes: readonly Lane[]
  /** Lanes that somebody uses: who takes one of `lanes` adds it, who is done with one deletes it. */
  readonly busy: Set<Lane>
  /**
   * A lane for a seller, declared first where no segment is left. It is busy from the moment it is listed, so that
   * nobody takes it before its opener goes on.
   * @throws Problem `funds-insufficient`, `delegation-exceeded`, `peer-failed` when the ledger cannot be reached
   */
  openLane(terms: LaneTerms): Promise<Lane>
  /**
   * Gives back what is frozen under declarations that have expired, but for lanes that somebody uses: nothing can be bought
   * for it any more. Called every few seconds.
   */
  giveBackExpired(): Promise<void>
  /** Takes up how the lanes ended meanwhile. */
  reload(): Promise<void>
  /** Sealed pieces whose keys are still to come. */
  readonly parking: Parking
  /** Takes a false label to the ledger: now, and until it has judged. Durable once it resolves. */
  accuse(grievance: Grievance): Promise<void>
  /** What may have left in ticks; of lanes that are closed, what the sellers took. */
  paid(): { readonly ticks: number; readonly credits: bigint }
}

export interface Wallet {
  /** The lanes of a download, to be used by its one runner; what they change is written with its journal. */
  open(download: string, journal: Journal): Promise<Purse>
  /**
   * Ends all lanes of a download: last ticks, sign-offs, release of what no seller claimed.
   * @returns once every side has answered or `patienceMs` is over; `maintain` goes on with the rest
   */
  finish(download: string, patienceMs: number): Promise<void>
  /** Goes on with what sellers that vanished left frozen; called every few seconds. */
  maintain(): Promise<void>
}

/** @param isDistrusted of payees, by id in hex: they are sent no more ticks */
export function createWallet(
  context: AgentContext,
  isDistrusted: (payee: string) => Promise<boolean> = async () => false,
): Wallet {
  const settler = createSettler(context, isDistrusted)
  return {
    open: (download, journal) => openPurse(context, settler, download, journal),
    finish: (download, patienceMs) => settler.finish(download, patienceMs),
    maintain: () => settler.maintain(),
  }
}

/** The ledger does not freeze more: what is frozen for nothing is in the way. */
const SHORT: ReadonlySet<ProblemCode> = new Set(['funds-insufficient', 'delegation-exceeded'])

async function openPurse(context: AgentContext, settler: Settler, download: string, journal: Journal): Promise<Purse> {
  const { clock } = context.environment
  const pk = walletKey(download)
  const parking = createParking(context.store, download)
  const chains = new Map<number, Chain>()
  const declarations: DeclarationRecord[] = []
  const lanes: Lane[] = []
  const busy = new Set<Lane>()
  await reload()
  let turn: Promise<unknown> = Promise.resolve()

  async function reload(): Promise<void> {
    const items = await journal.load(pk)
    const under = <T>(prefix: string): T[] =>
      items.filter(({ sk }) => sk.startsWith(prefix)).map((item) => decodeRecord<T>(item))
    declarations.splice(0, declarations.length, ...under<DeclarationRecord>('declaration/'))
    lanes.splice(0, lanes.length, ...under<LaneRecord>('lane/').map(laneOf))
  }

  function laneOf(record: LaneRecord): Lane {
    const declaration = declarations[record.declaration]
    if (!declaration) throw new Error('A lane has no declaration.')
    return createLane(pk, record, { chain: () => chainFor(declaration), envelope: () => declaration.declaration })
  }

  /** Made when first needed: of a large declaration it takes a moment. */
  function chainFor(declaration: DeclarationRecord): Chain {
    const known = chains.get(declaration.number) ?? chainOf(context.signer, declaration)
    chains.set(declaration.number, known)
    return known
  }

  /** One that the ledger has not taken yet fits only while it freezes no more than is needed. */
  function current({ price, segmentMax, unitsLeft }: LaneTerms): DeclarationRecord | undefined {
    const last = clock.now() + limits.redeemAheadMs
    const isUsable = ({ state, units }: DeclarationRecord): boolean =>
      state === 'open' || (state === 'made' && units <= Math.max(1, unitsLeft))
    return declarations.find(
      (one) =>
        isUsable(one) &&
        BigInt(one.price) === price &&
        one.segment <= segmentMax &&
        one.expires > last &&
        unitsLeftOf(one) > 0,
    )
  }

  async function openLane(terms: LaneTerms): Promise<Lane> {
    const declaration = await declared(current(terms) ?? (await make(terms)), terms)
    const { segment, units, next } = declaration
    const most = terms.mode === 'sealed' ? Math.floor(limits.unitsPerSealedLane / segment) : Infinity
    const segments = Math.min(segmentsFor(terms, segment), Math.ceil(units / segment) - next, most)
    const record = promise(context.signer, declaration, terms, segments)
    const after: DeclarationRecord = { ...declaration, next: next + record.segments }
    await journal.write([declarationEntry(pk, after), laneEntry(pk, record)])
    declarations[after.number] = after
    const lane = laneOf(record)
    lanes.push(lane)
    busy.add(lane)
    return lane
  }

  async function make(terms: LaneTerms): Promise<DeclarationRecord> {
    const declaration = await makeDeclaration(context, { ...terms, units: terms.unitsLeft }, declarations.length)
    await journal.write([declarationEntry(pk, declaration)])
    declarations.push(declaration)
    return declaration
  }

  /**
   * Asks the ledger unless it has agreed before. What it refuses now it may take later, and a request may arrive late: so
   * the same declaration is asked for again, and released in the end whether or not it ever came.
   */
  async function declared(declaration: DeclarationRecord, terms: LaneTerms): Promise<DeclarationRecord> {
    try {
      if (declaration.state === 'made') await context.ledger.declare(envelopeFromJson(declaration.declaration))
      return { ...declaration, state: 'open' }
    } catch (error) {
      if (error instanceof Problem && SHORT.has(error.code)) await makeRoom(declaration, terms)
      throw error
    }
  }

  /**
   * Declarations that nobody uses now give back what they hold, and so do the lanes that the seller does not take at these
   * terms; but for those whose last tick has left, as their piece may still come.
   */
  async function makeRoom({ number }: DeclarationRecord, { payee }: LaneTerms): Promise<void> {
    const used = new Set(Array.from(busy, ({ declaration }) => declaration))
    await giveBack(
      (one) => one.number !== number && !used.has(one.number),
      (lane) => lane.payee === payee && (lane.pending === undefined || lane.ticks < lane.unit),
    )
  }

  const hasExpired = ({ expires }: DeclarationRecord): boolean => expires + limits.clockSkewMs <= clock.now()

  async function giveBackExpired(): Promise<void> {
    const hoped = new Set<string>()
    for (const { lane, unit } of await parking.list()) if (await mayBeShown(context, lane, unit)) hoped.add(lane)
    await giveBack(hasExpired, ({ id, pending }) => pending === undefined || !hoped.has(id))
  }

  /** @param isGone nothing more is promised of it. @param isOver the lane's last piece came, or does not come any more */
  async function giveBack(
    isGone: (declaration: DeclarationRecord) => boolean,
    isOver: (lane: Lane) => boolean,
  ): Promise<void> {
    const gone = declarations.filter(isGone)
    const numbers = new Set(gone.map(({ number }) => number))
    const ended = gone.filter(isUsed).map((one): DeclarationRecord => ({ ...one, state: 'settling' }))
    const idle = (): readonly Lane[] =>
      lanes.filter((lane) => numbers.has(lane.declaration) && isUsed(lane) && !busy.has(lane) && isOver(lane))
    if (ended.length + idle().length === 0) return
    await settler.endSome(download, () => {
      for (const one of ended) declarations[one.number] = one
      const entries = [...ended.map((one) => declarationEntry(pk, one)), ...idle().map((lane) => lane.end())]
      return Promise.all(entries.map((entry) => journal.write([entry])))
    })
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work)
    turn = done.catch(() => undefined)
    return done
  }

  return {
    lanes,
    busy,
    openLane: (terms) => inTurn(() => openLane(terms)),
    giveBackExpired: async () => (declarations.some(hasExpired) ? inTurn(giveBackExpired) : undefined),
    reload,
    parking,
    accuse: (grievance) => settler.accuse(download, grievance),
    paid: () => ({
      ticks: lanes.reduce((sum, lane) => sum + lane.ticks, 0),
      credits: lanes.reduce((sum, lane) => sum + BigInt(lane.ticks) * lane.price, 0n),
    }),
  }
}

/** Lanes of equal shares end together: none is rounded up by more than half a segment, and a rest that is not worth a lane goes with the last. */
function segmentsFor({ units, unitsLeft }: LaneTerms, segment: number): number {
  const segments = Math.max(1, Math.round(units / segment))
  return unitsLeft - segments * segment > segment ? segments : Math.ceil(unitsLeft / segment)
}

const unitsLeftOf = ({ units, segment, next }: DeclarationRecord): number => Math.max(0, units - next * segment)

/** The next segments of a declaration, promised to a seller. */
function promise(signer: Signer, declaration: DeclarationRecord, terms: LaneTerms, segments: number): LaneRecord {
  const { next: first, segment, units } = declaration
  const cap = Math.min(segments * segment, units - first * segment)
  const payee = fromHex(terms.payee)
  const lane = { cap, declaration: fromHex(declaration.id), first, mode: terms.mode, payee, segments }
  const commitment = commit(lane, signer)
  return {
    id: toHex(objectId('commitment', commitment.body)),
    declaration: declaration.number,
    first,
    segments,
    segment,
    cap,
    mode: terms.mode,
    payee: terms.payee,
    url: terms.url,
    price: declaration.price,
    commitment: envelopeToJson(commitment),
    state: 'open',
    asked: 0,
    ticks: 0,
  }
}
