/** When the page asks for what: each question is a call, which an agent in the cloud pays for. */

/** Of downloads while one is on its way. */
const MOVING_MS = 1_000
const QUIET_MS = 5_000
/** Their providers are asked each time. */
const LINKS_MS = 30_000

/** @typedef {'guard' | 'balance' | 'downloads' | 'shares' | 'links'} Part */

/**
 * @typedef {object} Rounds
 * @property {(nowMs: number, isMoving: boolean) => readonly Part[]} take the parts to ask for now; they count as asked for
 * @property {() => void} restart all parts are to be asked for: something was done, or somebody looks again
 */

/** @returns {Rounds} */
export function createRounds() {
  /** @type {Map<Part, number>} */
  const askedMs = new Map()
  return {
    take(nowMs, isMoving) {
      /** @type {[Part, number][]} */
      const pauses = [
        ['guard', QUIET_MS],
        ['balance', QUIET_MS],
        ['downloads', isMoving ? MOVING_MS : QUIET_MS],
        ['shares', QUIET_MS],
        ['links', LINKS_MS],
      ]
      const due = pauses.filter(([part, pauseMs]) => nowMs - (askedMs.get(part) ?? -Infinity) >= pauseMs)
      for (const [part] of due) askedMs.set(part, nowMs)
      return due.map(([part]) => part)
    },
    restart: () => askedMs.clear(),
  }
}
