/**
 * Commitments: the payer promises a payee the next units of a declared chain, a **lane**: whole segments in a row, with
 * its own cap. Body: {cap, declaration, first, mode, payee, segments}. The id is the lane's.
 */
import { equal, type Bytes } from './bytes.ts'
import type { Declaration } from './declaration.ts'
import { field } from './encoding.ts'
import { limits } from './limits.ts'
import { segmentsOf } from './payword.ts'
import { Problem } from './problem.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

/** `credit`: the tick follows the verified piece; `prepaid`: it goes first; `sealed`: it follows the sealed piece, and the key follows it. */
export const LANE_MODES = ['credit', 'prepaid', 'sealed'] as const
export type LaneMode = (typeof LANE_MODES)[number]

export interface CommitmentTerms {
  /** Units the lane may pay; its last segment may be used in part. */
  readonly cap: number
  /** The declaration's id, 32 bytes. */
  readonly declaration: Bytes
  /** The lane's first segment, from 0. */
  readonly first: number
  readonly mode: LaneMode
  /** The payee's id, 32 bytes. */
  readonly payee: Bytes
  readonly segments: number
}

/** `id` is the lane's; `key` is who signed: that it may spend for the payer is for the caller to check. */
export type Commitment = Signed<CommitmentTerms>

export const commit = (terms: CommitmentTerms, signer: Signer): Envelope => seal('commitment', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export const parseCommitment = (envelope: Envelope): Commitment => openEnvelope('commitment', envelope, shape)

/** @throws Problem `bad-request` unless the lane is of this declaration and lies within its chain, its cap in its last segment, and within what a sealed one may have */
export function checkLane(lane: CommitmentTerms, declaration: Declaration): void {
  if (!equal(lane.declaration, declaration.id)) refuse('The lane belongs to another declaration.')
  if (lane.first + lane.segments > segmentsOf(declaration)) refuse('The lane reaches beyond the declared chain.')
  const { segment } = declaration
  if (lane.cap > lane.segments * segment || lane.cap <= (lane.segments - 1) * segment) {
    refuse('The cap of a lane lies in its last segment.')
  }
  if (lane.mode === 'sealed' && lane.cap > limits.unitsPerSealedLane) {
    refuse(`A sealed lane has at most ${limits.unitsPerSealedLane} units.`)
  }
}

const shape = {
  cap: field.integer({ min: 1, max: limits.unitsPerDeclaration }),
  declaration: field.bytes(32),
  first: field.integer({ max: limits.segmentsPerDeclaration - 1 }),
  mode: field.choice(...LANE_MODES),
  payee: field.bytes(32),
  segments: field.integer({ min: 1, max: limits.segmentsPerDeclaration }),
}

function refuse(detail: string): never {
  throw new Problem('bad-request', detail)
}
