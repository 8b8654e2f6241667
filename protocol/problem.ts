/** Errors with a stable code, answered as RFC 9457 problem+json. */

/** Code -> HTTP status and title. A code, once published, keeps its meaning. */
export const PROBLEMS = {
  'bad-request': [400, 'The request is malformed'],
  'bad-encoding': [400, 'A value is not in its canonical encoding'],
  'bad-signature': [401, 'A signature does not verify'],
  'unknown-key': [401, 'The key does not belong to the identity'],
  'stale-request': [401, 'The request is too old, from the future, or was seen before'],
  'payment-required': [402, 'This piece is for sale'],
  'funds-insufficient': [402, 'The account does not hold enough credits'],
  'credit-exceeded': [402, 'More pieces are unpaid than trust allows'],
  'tick-invalid': [402, 'The tick does not hash to its chain'],
  'tick-replayed': [409, 'The tick was already spent'],
  'bond-missing': [402, 'The seller cannot put up a bond now'],
  'key-invalid': [422, 'The key does not hash to its chain'],
  'no-fault': [422, 'The evidence shows no fault'],
  'delegation-exceeded': [403, 'The delegation does not allow this'],
  'not-payee': [403, 'Only the payee may do this'],
  'not-payer': [403, 'Only the payer may do this'],
  'session-required': [401, 'Only members of a circle, in a session, may have this'],
  forbidden: [403, 'Not allowed'],
  'address-refused': [403, 'The address is private, or the operator does not allow it'],
  'not-found': [404, 'No such thing here'],
  'content-changed': [410, 'The content is no longer what was shared'],
  'method-not-allowed': [405, 'The path exists, the method does not'],
  'lane-taken': [409, 'The lane is already claimed'],
  closed: [409, 'Already closed'],
  conflict: [409, 'Another change came first'],
  unclaimed: [409, 'The agent has no owner yet'],
  stopped: [409, 'The agent is stopped by its owner'],
  'not-expired': [409, 'Too early'],
  expired: [410, 'Too late'],
  'too-large': [413, 'Larger than the limit'],
  'range-invalid': [416, 'The range does not fit the file'],
  'bad-torrent': [422, 'The torrent breaks its specification'],
  'path-outside': [422, 'The path leaves the shared folder'],
  'wrong-ledger': [422, 'It is for another ledger'],
  'proof-invalid': [422, 'The proof does not hold'],
  'price-exceeded': [422, 'Dearer than allowed'],
  'below-cost': [422, 'Cheaper than it costs'],
  'piece-invalid': [422, 'The piece does not match its hash'],
  'limit-reached': [429, 'A limit is reached'],
  'cap-reached': [429, 'The owner’s cap for today is reached'],
  internal: [500, 'A fault of ours'],
  'peer-failed': [502, 'The other side answered wrongly or not at all'],
  unwitnessed: [502, 'Too few witnesses vouch for the checkpoint'],
  'log-forked': [502, 'The log shows two histories'],
  'log-behind': [503, 'The copy of the log lags behind'],
  'ledger-busy': [503, 'The log cannot take more for now'],
  'store-unavailable': [503, 'The store did not answer'],
  'storage-unavailable': [503, 'The storage did not answer'],
  'storage-parked': [503, 'The storage’s allowance is used up for now'],
  'storage-denied': [502, 'The storage does not let the agent in'],
  'storage-full': [507, 'The storage is full'],
  'storage-read-only': [507, 'The storage cannot be written'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type ProblemCode = keyof typeof PROBLEMS

/** `application/problem+json` (RFC 9457 §3); `code` is the stable name, `type` the same as a URN. */
export interface ProblemDocument {
  readonly type: string
  readonly code: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly [member: string]: unknown
}

export class Problem extends Error {
  readonly code: ProblemCode
  /** Extension members (RFC 9457 §3.2), JSON-safe. */
  readonly members: Readonly<Record<string, unknown>>

  constructor(code: ProblemCode, detail: string, members: Readonly<Record<string, unknown>> = {}) {
    super(detail)
    this.name = 'Problem'
    this.code = code
    this.members = members
  }

  get status(): number {
    return PROBLEMS[this.code][0]
  }

  toJSON(): ProblemDocument {
    const [status, title] = PROBLEMS[this.code]
    return {
      ...this.members,
      type: `urn:raincheck:problem:${this.code}`,
      code: this.code,
      title,
      status,
      detail: this.message,
    }
  }
}

/** A bug is answered without detail: what it says may hold a path or a secret. */
export const problemOf = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem('internal', 'Something went wrong on our side.')

export const isProblemCode = (code: unknown): code is ProblemCode =>
  typeof code === 'string' && Object.hasOwn(PROBLEMS, code)

/** For a `catch` where problems are expected, and dealt with elsewhere: a bug goes on. */
export function unlessBug(error: unknown): undefined {
  if (!(error instanceof Problem)) throw error
  return undefined
}
