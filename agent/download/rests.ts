/** How long a download looks out in vain before it makes way, and how long it rests then. */

/** Where nobody can say when there is something to do: whoever sells is found sooner. */
export const LOOKOUT_MS = 20_000
export const LONGEST_REST_MS = 30 * 60_000

/** @param times how often in a row it came to nothing, from 1: each time twice as long, up to the longest */
export const doubled = (firstMs: number, times: number, longestMs: number): number =>
  Math.min(longestMs, firstMs * 2 ** (times - 1))
