/** What the command's exit code says. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  funds: 4,
  trust: 5,
  storage: 6,
  interrupted: 130,
} as const

const OF_PROBLEM = new Map<string, number>([
  ['not-found', EXIT.notFound],
  ['funds-insufficient', EXIT.funds],
  ['price-exceeded', EXIT.funds],
  ['delegation-exceeded', EXIT.funds],
  ['credit-exceeded', EXIT.trust],
  ['unknown-key', EXIT.trust],
  ['forbidden', EXIT.trust],
  ['storage-unavailable', EXIT.storage],
  ['storage-parked', EXIT.storage],
  ['storage-denied', EXIT.storage],
  ['storage-full', EXIT.storage],
  ['storage-read-only', EXIT.storage],
  ['content-changed', EXIT.storage],
  ['path-outside', EXIT.storage],
])

/** @param code a problem's, or the reason of a download's state */
export const exitCodeOf = (code: string | undefined): number => OF_PROBLEM.get(code ?? '') ?? EXIT.failed
