/**
 * The tick chain: PayWord (Rivest and Shamir, 1996) cut into segments under one Merkle root, so that any link can be
 * made from the seed and checked against the root in at most m hashes and a proof.
 *
 *   start_j  = HMAC-SHA256(seed, "raincheck/payword/v1" NUL j as uint64, big-endian)
 *   anchor_j = SHA-256 applied m times to start_j
 *   tickRoot = RFC 6962 root over the anchors, j from 0 to ceil(units / m) - 1
 *
 * A lane begins at a segment, `first`. Its unit u, from 1, is link (j, p) with j = first + floor((u - 1) / m) and
 * p = (u - 1) mod m + 1: SHA-256 applied m - p times to start_j. Applied p times more it gives anchor_j; whoever holds
 * the link of a unit thus holds those of the units before it in the segment, and none after.
 */
import { hmacSha256, sha256Repeated } from '#primitives'
import { concat, equal, fromBase64url, fromHex, toBase64url, toHex, utf8, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { HASH_BYTES, hashSpan, inclusionProof, leafHash, levelsOf, verifyInclusion, type Levels } from './merkle.ts'
import { Problem } from './problem.ts'

export interface ChainShape {
  /** 1 to `limits.unitsPerDeclaration`. */
  readonly units: number
  /** Units a segment, the m above: 1 to `limits.segmentUnitsMax`. */
  readonly segment: number
}

/** "Unit `unit` of this lane, and all before it, are paid." */
export interface Tick {
  /** The lane's id, 32 bytes. */
  readonly lane: Bytes
  /** From 1. */
  readonly unit: number
  /** 32 bytes. */
  readonly link: Bytes
  /** That the link's anchor is under the tick root: with the first tick of each segment. */
  readonly proof?: readonly Bytes[]
}

/** `lane` in hex, the rest base64url. */
export interface TickJson {
  readonly lane: string
  readonly unit: number
  readonly link: string
  readonly proof?: readonly string[]
}

/** What the payer makes ticks with. Holding it costs little until `root` or `proof` is asked for: that hashes all units. */
export interface Chain {
  /** The tick root. */
  readonly root: Bytes
  /** The link of a unit of the lane that begins at segment `first`. */
  link(first: number, unit: number): Bytes
  /** The inclusion proof of a segment's anchor. */
  proof(segment: number): readonly Bytes[]
}

/** Hashes in the longest inclusion proof of an anchor. */
export const PROOF_HASHES_MAX = Math.ceil(Math.log2(limits.segmentsPerDeclaration))

const SEGMENTS_CACHED = 64

/** @throws Problem `bad-encoding` unless units and segment are within the limits */
export function checkShape(shape: ChainShape): void {
  const { units, segment } = shape
  const fits = isWithin(units, 1, limits.unitsPerDeclaration) && isWithin(segment, 1, limits.segmentUnitsMax)
  if (!fits || segmentsOf(shape) > limits.segmentsPerDeclaration) {
    throw new Problem('bad-encoding', `No tick chain has ${units} units in segments of ${segment}.`)
  }
}

export const segmentsOf = ({ units, segment }: ChainShape): number => Math.ceil(units / segment)

/** The segment that holds a unit of the lane that begins at `first`. */
export const segmentOf = ({ segment }: ChainShape, first: number, unit: number): number =>
  first + Math.floor((unit - 1) / segment)

/** The unit's place in its segment, from 1: the p above. */
const placeOf = ({ segment }: ChainShape, unit: number): number => ((unit - 1) % segment) + 1

/** @param seed 32 bytes, secret */
export function makeChain(seed: Bytes, shape: ChainShape): Chain {
  checkShape(shape)
  const segments = segmentsOf(shape)
  const links = new Map<number, readonly Bytes[]>()
  let built: Levels | undefined
  const tree = (): Levels => (built ??= levelsOf(anchorLeaves(seed, shape)))

  /** A flow takes the links of a segment one after the other: they are made once. */
  function linksOf(segment: number): readonly Bytes[] {
    const known = links.get(segment)
    if (known) return known
    if (links.size >= SEGMENTS_CACHED) links.delete(links.keys().next().value as number)
    const made = segmentLinks(startOf(seed, segment), shape.segment)
    links.set(segment, made)
    return made
  }

  return {
    get root() {
      return hashSpan([0, segments], tree())
    },
    link(first, unit) {
      assertUnit(shape, first, unit)
      return linksOf(segmentOf(shape, first, unit))[placeOf(shape, unit) - 1] as Bytes
    },
    proof: (segment) => inclusionProof(tree(), segment),
  }
}

export const tickRoot = (seed: Bytes, shape: ChainShape): Bytes => makeChain(seed, shape).root

const PREFIX = utf8('raincheck/payword/v1\0')

function startOf(seed: Bytes, segment: number): Bytes {
  const index = new Uint8Array(8)
  new DataView(index.buffer).setBigUint64(0, BigInt(segment))
  return hmacSha256(seed, concat(PREFIX, index))
}

/** The links of a segment by place: the last is the start, each the hash of the one after it. */
function segmentLinks(start: Bytes, length: number): readonly Bytes[] {
  const links = [start]
  for (let link = start; links.length < length;) {
    link = sha256Repeated(link, 1)
    links.push(link)
  }
  return links.toReversed()
}

const anchorLeaves = (seed: Bytes, shape: ChainShape): Bytes[] =>
  Array.from({ length: segmentsOf(shape) }, (_, segment) =>
    leafHash(sha256Repeated(startOf(seed, segment), shape.segment)),
  )

function assertUnit(shape: ChainShape, first: number, unit: number): void {
  const inside = isWithin(first, 0, Number.MAX_SAFE_INTEGER) && isWithin(unit, 1, Number.MAX_SAFE_INTEGER)
  if (!inside || segmentOf(shape, first, unit) >= segmentsOf(shape)) {
    throw new RangeError(`The chain has no unit ${unit} from segment ${first} on.`)
  }
}

/**
 * Checks a link against the root alone: at most m hashes and the proof.
 * @param lane where the lane begins; that the unit is within its cap is for the caller to check
 * @returns the anchor that the link leads to
 * @throws Problem `tick-invalid`
 */
export function verifyLink(
  root: Bytes,
  shape: ChainShape,
  { first }: { readonly first: number },
  unit: number,
  link: Bytes,
  proof: readonly Bytes[],
): Bytes {
  checkLink(unit, link)
  const anchor = sha256Repeated(link, placeOf(shape, unit))
  if (!verifyInclusion(segmentOf(shape, first, unit), segmentsOf(shape), leafHash(anchor), proof, root)) {
    throw new Problem('tick-invalid', 'The link does not lead to an anchor of the declared chain.')
  }
  return anchor
}

/**
 * Checks a tick against one accepted before in the same segment: a hash for each unit between them.
 * @throws Problem `tick-replayed` when it pays for no new unit; `tick-invalid`, also when it is in a later segment, where
 *   only `verifyLink` can tell
 */
export function verifyNext(
  shape: ChainShape,
  previous: Pick<Tick, 'unit' | 'link'>,
  tick: Pick<Tick, 'unit' | 'link'>,
): void {
  checkLink(tick.unit, tick.link)
  if (tick.unit <= previous.unit) {
    throw new Problem('tick-replayed', 'The tick was already spent.', { unit: previous.unit })
  }
  const isSameSegment = segmentOf(shape, 0, previous.unit) === segmentOf(shape, 0, tick.unit)
  if (!isSameSegment || !equal(sha256Repeated(tick.link, tick.unit - previous.unit), previous.link)) {
    throw new Problem('tick-invalid', 'The tick does not hash to the one before it.', { unit: previous.unit })
  }
}

function checkLink(unit: number, link: Bytes): void {
  if (!isWithin(unit, 1, limits.unitsPerDeclaration) || link.length !== HASH_BYTES) {
    throw new Problem('tick-invalid', `A tick has a whole unit, from 1, and a link of ${HASH_BYTES} bytes.`)
  }
}

export const tickToJson = ({ lane, unit, link, proof }: Tick): TickJson => ({
  lane: toHex(lane),
  unit,
  link: toBase64url(link),
  ...(proof && { proof: proof.map(toBase64url) }),
})

/**
 * @throws Problem `bad-request` unless it has exactly the members of a tick, `bad-encoding` for bytes that are not 32 or
 *   not canonical, `tick-invalid` for a unit that is negative, fractional or beyond every chain
 */
export function tickFromJson(value: unknown): Tick {
  if (!isTickJson(value)) {
    throw new Problem('bad-request', 'A tick is {"lane", "unit", "link"}, with "proof" where a segment begins.')
  }
  const link = fromBase64url(value.link, HASH_BYTES, 'link')
  checkLink(value.unit, link)
  const tick = { lane: fromHex(value.lane, HASH_BYTES, 'lane'), unit: value.unit, link }
  return value.proof ? { ...tick, proof: value.proof.map((hash) => fromBase64url(hash, HASH_BYTES, 'proof')) } : tick
}

function isTickJson(value: unknown): value is TickJson {
  if (typeof value !== 'object' || value === null) return false
  const { lane, unit, link, proof, ...rest } = value as Record<string, unknown>
  const isBasic = typeof lane === 'string' && typeof unit === 'number' && typeof link === 'string'
  return isBasic && isProofJson(proof) && Object.keys(rest).length === 0
}

const isProofJson = (proof: unknown): boolean =>
  proof === undefined ||
  (Array.isArray(proof) && proof.length <= PROOF_HASHES_MAX && proof.every((hash) => typeof hash === 'string'))

const isWithin = (value: number, min: number, max: number): boolean =>
  Number.isSafeInteger(value) && value >= min && value <= max
