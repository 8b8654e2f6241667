/**
 * The floor under a price: what a piece costs its seller at the worst, since nobody knows who will buy it and by which way.
 * It rests on a ledger that has ordered a unit price: a unit is 4 MiB sent anywhere by the dearest storage of the table of
 * costs, so that a credit is worth something there. Where no price was ordered there is no floor.
 */
import { limits } from '../../protocol/limits.ts'
import type { LedgerPrices } from '../clients/ledger-client.ts'
import { costOf, DEAREST } from '../storage/ways.ts'

/** Of the table's figures, which are millionths of a dollar. */
const FRACTIONS = 1000

/** Credits. @param provider from whose network the bytes leave @param pieceBytes of the longest piece */
export function floorOf(
  { price, unitPrice }: LedgerPrices,
  provider: string,
  pieceBytes: number,
  nowMs: number,
): bigint {
  if (!price) return 0n
  const isInEffect = nowMs >= price.effective
  if (!isInEffect && price.seq === 1) return 0n
  const worth = isInEffect ? price.unitPrice : unitPrice
  const [cost, unit] = [fractions(provider, pieceBytes), fractions(DEAREST, limits.pieceBytesDefault)]
  return (worth * cost + unit - 1n) / unit
}

/** Sent by its agent, to where nothing is known of. */
const fractions = (provider: string, bytes: number): bigint =>
  BigInt(Math.ceil(costOf('through', { provider }, undefined, bytes) * FRACTIONS))
