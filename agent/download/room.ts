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

/**
 * What one flow with the seller brings of all that is to come, as a fraction: by the rates of the sellers of use, each with
 * all the flows that it has room for, whether or not they are started yet. Who has not sent a piece counts like the mean.
 */
export function shareOfFlow(run: Run, seller: SellerState): number {
  const usable = run.sellers.all().filter((one) => one === seller || run.sellers.isUsable(one))
  const known = usable.filter(isMeasured)
  const mean = known.length === 0 ? 1 : known.reduce((sum, one) => sum + rateOfFlow(run, one), 0) / known.length
  const rateOf = (one: SellerState): number => (isMeasured(one) ? rateOfFlow(run, one) : mean)
  const flows = usable.reduce((sum, one) => sum + flowsWith(run, one), 0)
  const all = usable.reduce((sum, one) => sum + rateOf(one) * flowsWith(run, one), 0)
  return Math.min(1, (rateOf(seller) / all) * Math.max(1, flows / flowsMost(run)))
}

const isMeasured = ({ pieces, meter }: SellerState): boolean => pieces > 0 && meter.rate() > 0

/** Bytes a second, once the seller has all the flows that it has room for. */
export const rateOfFlow = (run: Run, seller: SellerState): number => seller.meter.rate() / flowsWith(run, seller)
