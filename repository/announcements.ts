/** Who holds what: of every owner and content the newest announcement, until it expires. */
import { checkUrl } from '../protocol/address.ts'
import {
  isLive,
  isWithdrawal,
  parseAnnouncement,
  requireAnnouncer,
  type Announcement,
} from '../protocol/announcement.ts'
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decideAndWrite, type Decision } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { objectId, type Envelope } from '../protocol/signed.ts'
import type { Change, Item } from '../protocol/store.ts'
import type { Content, Contents } from './contents.ts'
import type { RepositoryContext } from './context.ts'
import type { Identities } from './identities.ts'
import { dueKey, dueSwarm, EMPTY, liveKey, liveOffer, ownerKey, paddedTime, swarmKey } from './keys.ts'
import { wordItems } from './search.ts'
import { envelopeField } from './stored.ts'

export interface Offer {
  readonly announcement: Envelope
  readonly delegation?: Envelope
  /** Of the owner, hex. */
  readonly owner: string
  readonly issued: number
  readonly expires: number
  /** Credits a piece; 0 when it is public. */
  readonly price: bigint
}

export interface Announcements {
  /**
   * Takes the place of the owner's announcement of that content before. The very same again changes nothing.
   * @throws Problem `not-found` (member `missing`: the identity or the content), `expired`, `conflict` for one that is not
   *   newer, `address-refused`, `limit-reached`, and those of `parseAnnouncement` and `requireAnnouncer`
   */
  put(
    envelope: Envelope,
    delegation?: Envelope,
  ): Promise<{ readonly announcement: Announcement; readonly changed: boolean }>
  /**
   * The offers of a content (v2, hex) that count now: up to `count` of them, those that end first before the others.
   * @param sought owners that no crowd may hide: where there are more than that, theirs stand first
   */
  offers(infoHash: string, count: number, sought?: ReadonlySet<string>): Promise<readonly Offer[]>
  /** Forgets an announcement whose time is over, unless a newer one took its place. */
  forget(infoHash: string, owner: string): Promise<void>
}

const COUNT = 'announcements'
const SOUGHT_READ = 256

const offerShape = {
  announcement: envelopeField,
  delegation: field.optional(envelopeField),
  expires: field.integer(),
  issued: field.integer(),
  price: field.amount,
}

export function createAnnouncements(
  context: RepositoryContext,
  identities: Identities,
  contents: Contents,
): Announcements {
  const { store, environment } = context

  async function put(envelope: Envelope, delegation?: Envelope) {
    const announcement = parseAnnouncement(envelope)
    const owner = await identities.require(announcement.agent)
    requireAnnouncer(announcement, owner, delegation, environment.clock.now())
    announcement.urls.forEach((url) => checkUrl(url, context))
    const content = await contents.require(toHex(announcement.infoHash))
    const signed = { announcement: envelope, ...(delegation && { delegation }) }
    const changed = await decideAndWrite(store, () => decide(announcement, signed, content))
    // One that was forgotten meanwhile is to be sent again.
    await contents.require(content.infoHash)
    return { announcement, changed }
  }

  async function decide(
    announcement: Announcement,
    signed: Pick<Offer, 'announcement' | 'delegation'>,
    content: Content,
  ): Promise<Decision<boolean>> {
    const { infoHash } = content
    const [pk, owner] = [swarmKey(infoHash), toHex(announcement.agent)]
    const item = await store.get(pk, owner)
    const before = item && readOffer(item)
    if (before && equal(objectId('announcement', before.announcement.body), announcement.id))
      return { changes: [], result: false }
    if (before && before.issued >= announcement.issued)
      throw new Problem('conflict', 'A newer announcement of this owner is known.')
    requireTimely(announcement, environment.clock.now())
    const body = encodeOffer(announcement, signed)
    const changes: Change[] = [
      { pk, sk: owner, expect: item?.version ?? 0, body },
      due(announcement.issued, infoHash, owner, EMPTY),
    ]
    if (before) changes.push(due(before.issued, infoHash, owner), live(before, infoHash, owner))
    else changes.push(await counted(context, owner, 1))
    if (!isWithdrawal(announcement)) changes.push(live(announcement, infoHash, owner, body), ...wordItems(content))
    return { changes, result: true }
  }

  async function offers(infoHash: string, count: number, sought: ReadonlySet<string> = new Set()): Promise<Offer[]> {
    const nowMs = environment.clock.now()
    const items = await store.list(liveKey(infoHash), { after: paddedTime(nowMs + 1), limit: count })
    const listed = items.map((item) => readOffer(item, item.sk.split('/')[1]))
    if (listed.length < count) return listed
    const known = new Set(listed.map(({ owner }) => owner))
    const others = [...sought].filter((owner) => !known.has(owner)).slice(0, SOUGHT_READ)
    const theirs = await Promise.all(others.map((owner) => store.get(swarmKey(infoHash), owner)))
    const found = theirs.flatMap((item) => (item ? [readOffer(item)] : [])).filter((offer) => isLive(offer, nowMs))
    return [...found, ...listed].slice(0, count)
  }

  async function forget(infoHash: string, owner: string): Promise<void> {
    await decideAndWrite(store, async () => {
      const item = await store.get(swarmKey(infoHash), owner)
      const offer = item && readOffer(item)
      const isOver = offer && offer.issued + limits.announcementMs <= environment.clock.now()
      if (!isOver) return { changes: [], result: undefined }
      const taken = { pk: item.pk, sk: owner, expect: item.version }
      return { changes: [taken, live(offer, infoHash, owner), await counted(context, owner, -1)], result: undefined }
    })
  }

  return { put, offers, forget }
}

async function counted(
  { store, announcementsPerOwner }: RepositoryContext,
  owner: string,
  step: 1 | -1,
): Promise<Change> {
  const item = await store.get(ownerKey(owner), COUNT)
  const count = (item ? fields(decode(item.body), { count: field.integer() }).count : 0) + step
  if (count > announcementsPerOwner) {
    throw new Problem('limit-reached', `An owner has at most ${announcementsPerOwner} announcements.`)
  }
  return { pk: ownerKey(owner), sk: COUNT, expect: item?.version ?? 0, body: encode({ count: Math.max(0, count) }) }
}

/** An announcement, also one that was withdrawn, is kept until every earlier one of its owner has expired. */
const due = (issued: number, infoHash: string, owner: string, body?: Bytes): Change => ({
  pk: dueKey(infoHash),
  sk: dueSwarm(issued + limits.announcementMs, infoHash, owner),
  expect: 'any',
  ...(body && { body }),
})

/** What the offers are read from: however many are withdrawn or over, none of them is read with it. */
const live = (
  { expires, issued }: Pick<Offer, 'expires' | 'issued'>,
  infoHash: string,
  owner: string,
  body?: Bytes,
): Change => ({
  pk: liveKey(infoHash),
  sk: liveOffer(expires, owner, issued),
  expect: 'any',
  ...(body && { body }),
})

function requireTimely(announcement: Announcement, nowMs: number): void {
  const { issued, expires } = announcement
  if (issued > nowMs + limits.clockSkewMs)
    throw new Problem('bad-request', 'The announcement was issued in the future.')
  const ends = isWithdrawal(announcement) ? issued + limits.announcementMs : expires
  if (nowMs >= ends) throw new Problem('expired', 'The announcement has expired.')
}

const encodeOffer = (
  { expires, issued, price, ...terms }: Announcement,
  { announcement, delegation }: Pick<Offer, 'announcement' | 'delegation'>,
): Bytes =>
  encode({
    announcement: { ...announcement },
    delegation: delegation && { ...delegation },
    expires,
    issued,
    price: terms.public ? 0n : price,
  })

const readOffer = ({ sk, body }: Item, owner = sk): Offer => ({ ...fields(decode(body), offerShape), owner })
