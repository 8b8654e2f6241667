/**
 * Notices: what a voucher is told by one who believed its vouch and now distrusts whom it vouched for. Body: {by, issued,
 * subject, times, to}. It changes nothing by itself: each verifier decides for itself.
 */
import { requireSpeaker } from './authority.ts'
import type { Bytes } from './bytes.ts'
import { field } from './encoding.ts'
import type { IdentityState } from './identity.ts'
import { openEnvelope, seal, type Envelope, type Signed, type Signer } from './signed.ts'

export interface NoticeTerms {
  /** The id of who distrusts, 32 bytes. */
  readonly by: Bytes
  /** Milliseconds. */
  readonly issued: number
  /** The distrusted id, 32 bytes. */
  readonly subject: Bytes
  /** How many times the credit of a vouch for `to` is halved, with `by`, from now on. */
  readonly times: number
  /** The id of who vouched for the subject, 32 bytes. */
  readonly to: Bytes
}

export type Notice = Signed<NoticeTerms>

const shape = {
  by: field.bytes(32),
  issued: field.integer(),
  subject: field.bytes(32),
  times: field.integer({ max: 64 }),
  to: field.bytes(32),
}

export const notify = (terms: NoticeTerms, signer: Signer): Envelope => seal('notice', { ...terms }, signer)

/** @throws Problem `bad-signature`, `bad-encoding` */
export const parseNotice = (envelope: Envelope): Notice => openEnvelope('notice', envelope, shape)

/**
 * The owner's keys, or an agent's that may `announce`.
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export function requireNotifier(
  notice: Notice,
  by: IdentityState,
  delegation: Envelope | undefined,
  nowMs: number,
): void {
  requireSpeaker(notice, by, { delegation, power: 'announce', atMs: nowMs })
}
