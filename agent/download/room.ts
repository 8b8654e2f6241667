/** How many flows there may be: in all, and with each seller. */
import type { Run } from './run.ts'
import type { SellerState } from './sellers.ts'

export const flowsOf = (run: Run): number => run.sellers.all().reduce((sum, { workers }) => sum + workers, 0)

/** Each flow holds a buffer of a piece. */
export const flowsMost = ({ pace, meta }: Run): number =>
  Math.max(1, Math.min(pace.workers, Math.floor(pace.bufferBytes / meta.pieceLength)))

/** One until a good piece came: so a liar costs one unit. */
export const flowsWith = ({ pace }: Run, { pieces, status }: SellerState): number =>
  pieces > 0 && status === 'good' ? pace.lanesPerSeller : 1

/** What the sellers of use now make room for, whether or not all of them are started yet. */
export function flowsToCome(run: Run): number {
  const usable = run.sellers.all().filter((seller) => run.sellers.isUsable(seller))
  return Math.min(
    flowsMost(run),
    usable.reduce((sum, seller) => sum + flowsWith(run, seller), 0),
  )
}
