/**
 * Tells the repository what is shared: the torrent, who has it at what price, then its block hashes. Whatever fails is due
 * again in the next round. An announcement is renewed long before its end, so that a repository that lost it is soon
 * whole again, and at once when what it says changes.
 */
import { announce } from '../../protocol/announcement.ts'
import { LANE_MODES } from '../../protocol/commitment.ts'
import { fromHex } from '../../protocol/bytes.ts'
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import type { Editions } from './editions.ts'
import type { LeafBox } from './leaves.ts'
import type { Announced, ShareHead, ShareRecords } from './records.ts'
import { createUploads } from './uploads.ts'

export interface Announcer {
  /** What is due of one share. */
  publish(head: ShareHead): Promise<void>
  /** Takes back the announcements of shares that are gone. */
  takeBack(): Promise<void>
  /** As it was announced; anew where no repository was told yet. */
  announcement(head: ShareHead): Envelope
  /** Everything that is due. @throws the first failure, once the rest was tried */
  round(): Promise<void>
}

type Terms = Pick<ShareHead, 'infoHash' | 'price' | 'public'>

export interface AnnouncerParts {
  readonly records: ShareRecords
  readonly leaves: LeafBox
  readonly editions: Editions
}

export function createAnnouncer(context: AgentContext, { records, leaves, editions }: AnnouncerParts): Announcer {
  const { repository, environment, signer, owner, modes = LANE_MODES } = context
  const uploads = createUploads(repository, records, leaves)

  const termsOf = (head: ShareHead): string => JSON.stringify([context.publicUrl, head.price, head.public, modes])

  function isDue(head: ShareHead): boolean {
    const { announced } = head
    if (!announced || announced.terms !== termsOf(head)) return true
    return environment.clock.now() >= announced.issued + limits.announcedAgainMs
  }

  /** Takes the announcement back unless it is said when it `expires`. */
  function signed(head: Terms, issued: number, expires = issued): Envelope {
    const terms = {
      agent: owner,
      infoHash: fromHex(head.infoHash),
      issued,
      expires,
      modes: head.public ? [] : modes,
      price: BigInt(head.price),
      public: head.public,
      urls: expires > issued ? [context.publicUrl] : [],
    }
    return announce(terms, signer)
  }

  async function send(head: Terms, issued: number, expires?: number): Promise<void> {
    await repository.announce(signed(head, issued, expires), context.delegation)
  }

  function announcement(head: ShareHead): Envelope {
    const nowMs = environment.clock.now()
    const { issued, expires } = head.announced ?? { issued: nowMs, expires: nowMs + limits.announcementMs }
    return signed(head, issued, expires)
  }

  async function renew(head: ShareHead): Promise<void> {
    const issued = issueTime(environment.clock, head.announced)
    const expires = issued + limits.announcementMs
    await send(head, issued, expires)
    const announced = { issued, expires, terms: termsOf(head) }
    await records.change(head.infoHash, (now) => ({ ...now, announced }))
  }

  async function withdraw(head: ShareHead): Promise<void> {
    await send(head, issueTime(environment.clock, head.announced))
    await records.change(head.infoHash, ({ announced: _, ...now }) => now)
  }

  async function publish(head: ShareHead): Promise<void> {
    if (head.withdrawn !== undefined) return head.announced && withdraw(head)
    if (uploads.isRefused(head)) return
    if (!head.uploaded) await uploads.torrent(head)
    try {
      if (isDue(head)) await renew(head)
      if (!head.leavesUploaded) await uploads.leaves(head)
      if (head.edition?.isSigned === false) await editions.tell(head)
    } catch (error) {
      if (codeOf(error) === 'not-found') await introduceAgain(head)
      throw error
    }
  }

  /** The repository has forgotten the owner, the torrent or both: the next round finds it knowing the one and uploads the other. */
  async function introduceAgain(head: ShareHead): Promise<void> {
    await repository.putIdentity(context.operations)
    await records.change(head.infoHash, (now) => ({ ...now, uploaded: false }))
  }

  async function takeBack(): Promise<void> {
    for (const ended of await records.ended()) {
      const { infoHash, expires } = ended
      const isOver = expires <= environment.clock.now() || (await records.head(infoHash)) !== undefined
      if (!isOver) await send({ infoHash, price: '0', public: true }, issueTime(environment.clock, ended))
      await records.forgetEnded(infoHash)
    }
  }

  async function round(): Promise<void> {
    const heads = await records.heads()
    await tryAll([...heads.map((head) => () => publish(head)), takeBack, () => editions.flush()])
  }

  return { publish, takeBack, announcement, round }
}

/** The newest counts, so that each is issued later than the one before. */
const issueTime = (clock: Clock, before?: Announced): number => Math.max(clock.now(), (before?.issued ?? 0) + 1)

/** @throws the first failure, once the rest was tried; a repository that does not answer is not asked a thousand times */
async function tryAll(works: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const work of works) {
    await work().catch((error: unknown) => failures.push(error))
    if (codeOf(failures.at(-1)) === 'peer-failed') break
  }
  if (failures.length > 0) throw failures[0] as Error
}

const codeOf = (error: unknown): string | undefined => (error instanceof Problem ? error.code : undefined)
