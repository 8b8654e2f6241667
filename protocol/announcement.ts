/**
 * Announcements: an owner's agent says that it holds a content, at what price and where. Body: {agent, expires, infoHash,
 * issued, modes, price, public, urls}. The newest `issued` of an owner for a content counts; one that expires when it is
 * issued, or before, withdraws.
 */
import { parseUrl } from './address.ts'
import { requireSpeaker } from './authority.ts'
import type { Bytes } from './bytes.ts'
import { LANE_MODES, type LaneMode } from './commitment.ts'
import { decode, field, fields } from './encoding.ts'
import type { IdentityState } from './identity.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'
import { objectId, seal, verifyEnvelope, type Envelope, type Signer } from './signed.ts'

export interface AnnouncementTerms {
  /** The id of the owner whose agent announces, 32 bytes. */
  readonly agent: Bytes
  /** v2, 32 bytes. */
  readonly infoHash: Bytes
  /** Milliseconds. */
  readonly issued: number
  /** Milliseconds; at most `limits.announcementMs` after `issued`. */
  readonly expires: number
  /** At least one, but for a public content. */
  readonly modes: readonly LaneMode[]
  /** Credits a piece; without meaning for a public content. */
  readonly price: bigint
  /** Not for sale: anybody may fetch it. */
  readonly public: boolean
  /** Where the agent is reached, 1 to `limits.urlsPerAnnouncement`; none when it withdraws. */
  readonly urls: readonly string[]
}

export interface Announcement extends AnnouncementTerms {
  /** 32 bytes. */
  readonly id: Bytes
  /** Who signed: `requireAnnouncer` says whether they may. */
  readonly key: Bytes
}

export const announce = (terms: AnnouncementTerms, signer: Signer): Envelope =>
  seal('announcement', { ...terms, public: terms.public ? 1 : 0 }, signer)

type Times = Pick<AnnouncementTerms, 'issued' | 'expires'>

export const isWithdrawal = ({ issued, expires }: Times): boolean => expires <= issued

/** Whether it counts now. A withdrawal never does. */
export const isLive = (times: Times, nowMs: number): boolean =>
  !isWithdrawal(times) && nowMs < times.expires && times.issued <= nowMs + limits.clockSkewMs

/** Which addresses the URLs may name is for `checkUrl`. @throws Problem `bad-signature`, `bad-encoding`, `bad-request`, `too-large` */
export function parseAnnouncement(envelope: Envelope): Announcement {
  verifyEnvelope('announcement', envelope)
  const body = fields(decode(envelope.body), shape)
  const terms = { ...body, public: body.public === 1 }
  terms.urls.forEach(parseUrl)
  if (hasDuplicates(terms.urls) || hasDuplicates(terms.modes)) refuse('A URL or a mode is listed twice.')
  if (!terms.public && terms.modes.length === 0) refuse('A content for sale is sold in one mode at least.')
  if (terms.expires - terms.issued > limits.announcementMs) {
    refuse(`An announcement lasts up to ${limits.announcementMs} ms.`)
  }
  if (!isWithdrawal(terms) && terms.urls.length === 0) refuse('An announcement names at least one URL.')
  return { ...terms, id: objectId('announcement', envelope.body), key: envelope.key }
}

const shape = {
  agent: field.bytes(32),
  expires: field.integer(),
  infoHash: field.bytes(32),
  issued: field.integer(),
  modes: field.list(field.choice(...LANE_MODES), { max: LANE_MODES.length }),
  price: field.amount,
  public: field.integer({ max: 1 }),
  urls: field.list(field.text({ maxBytes: limits.urlBytes }), { max: limits.urlsPerAnnouncement }),
}

/**
 * @param owner the identity that the announcement names
 * @throws Problem `unknown-key`, `delegation-exceeded`, `bad-encoding`, `bad-signature`
 */
export function requireAnnouncer(
  announcement: Announcement,
  owner: IdentityState,
  delegation: Envelope | undefined,
  nowMs: number,
): void {
  const said = { by: announcement.agent, key: announcement.key }
  requireSpeaker(said, owner, { delegation, power: 'announce', atMs: nowMs })
}

const hasDuplicates = (values: readonly string[]): boolean => new Set(values).size < values.length

function refuse(detail: string): never {
  throw new Problem('bad-encoding', detail)
}
