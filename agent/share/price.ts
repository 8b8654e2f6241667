/** What a price that was read is worth once it has been raised: an offer's `maxTimeoutSeconds` says for how long it holds. */
import type { HeldPrice, ShareHead } from './records.ts'

/** For how long a price holds after it was read, at least. */
export const PRICE_HOLDS_MS = 60_000

/** What to keep of a share that gets another price: the least of those that somebody may go by. */
export function heldPrice(before: ShareHead, price: string, nowMs: number): HeldPrice | undefined {
  if (before.public || BigInt(price) <= BigInt(before.price)) return before.held
  const least = leastPrice({ price: BigInt(before.price), ...(before.held && { held: before.held }) }, nowMs)
  return { price: least.toString(), until: nowMs + PRICE_HOLDS_MS }
}

/** Credits a piece that a lane must pay at least. */
export function leastPrice(
  { price, held }: { readonly price: bigint; readonly held?: HeldPrice },
  nowMs: number,
): bigint {
  if (!held || nowMs >= held.until) return price
  const before = BigInt(held.price)
  return before < price ? before : price
}
