/**
 * Tells the repository what is shared: the torrent, who has it at what price, then its block hashes. Whatever fails is due
 * again in the next round. An announcement is renewed at half its life, and at once when what it says changes.
 */
import { HASH_BYTES } from '../protocol/block-tree.ts'
import { announce, MODES } from '../protocol/announcement.ts'
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { AgentContext } from './context.ts'
import type { LeafBox } from './share-leaves.ts'
import type { Announced, ShareHead, ShareRecords } from './share-records.ts'

export interface Announcer {
  /** What is due of one share. */
  publish(head: ShareHead): Promise<void>
  /** Takes back the announcements of shares that are gone. */
  takeBack(): Promise<void>
  /** Everything that is due. @throws the first failure, once the rest was tried */
  round(): Promise<void>
}

/** Uploads of 256 KiB at most that one round makes of one share: the rounds after it go on. */
const RUNS_PER_ROUND = 64

export function createAnnouncer(context: AgentContext, records: ShareRecords, leaves: LeafBox): Announcer {
  const { repository, environment, signer, owner } = context

  const termsOf = (head: ShareHead): string => JSON.stringify([context.publicUrl, head.price, head.public])

  function isDue(head: ShareHead): boolean {
    const { announced } = head
    if (!announced || announced.terms !== termsOf(head)) return true
    return environment.clock.now() >= (announced.issued + announced.expires) / 2
  }

  /** The newest counts, so that each is issued later than the one before. */
  const issueTime = (before?: Announced): number => Math.max(environment.clock.now(), (before?.issued ?? 0) + 1)

  async function send(
    head: Pick<ShareHead, 'infoHash' | 'price' | 'public'>,
    issued: number,
    expires: number,
  ): Promise<void> {
    const isOver = expires <= issued
    const terms = {
      agent: owner,
      infoHash: fromHex(head.infoHash),
      issued,
      expires,
      modes: head.public ? [] : MODES,
      price: BigInt(head.price),
      public: head.public,
      urls: isOver ? [] : [context.publicUrl],
    }
    await repository.announce(announce(terms, signer), context.delegation)
  }

  async function uploadTorrent({ infoHash }: ShareHead): Promise<void> {
    await repository.putTorrent(infoHash, await records.torrent(infoHash))
    await records.change(infoHash, (head) => ({ ...head, uploaded: true }))
  }

  async function renew(head: ShareHead): Promise<void> {
    const issued = issueTime(head.announced)
    const expires = issued + limits.announcementMs
    await send(head, issued, expires)
    const announced = { issued, expires, terms: termsOf(head) }
    await records.change(head.infoHash, (now) => ({ ...now, announced }))
  }

  async function withdraw(head: ShareHead): Promise<void> {
    const issued = issueTime(head.announced)
    await send(head, issued, issued)
    await records.change(head.infoHash, ({ announced: _, ...now }) => now)
  }

  async function uploadLeaves({ infoHash, source }: ShareHead): Promise<void> {
    const runs = await leaves.first(source, RUNS_PER_ROUND)
    for (const { key, run } of runs) {
      await repository.putLeaves(infoHash, { ...run, leaves: split(run.leaves) })
      await leaves.forget(source, [key])
    }
    if (runs.length === RUNS_PER_ROUND) return
    await records.change(infoHash, (head) => ({ ...head, leavesUploaded: true }))
  }

  async function publish(head: ShareHead): Promise<void> {
    if (head.withdrawn !== undefined) return head.announced && withdraw(head)
    if (!head.uploaded) await uploadTorrent(head)
    try {
      if (isDue(head)) await renew(head)
      if (!head.leavesUploaded) await uploadLeaves(head)
    } catch (error) {
      // It has forgotten the torrent: the next round uploads it again.
      if (codeOf(error) === 'not-found') await records.change(head.infoHash, (now) => ({ ...now, uploaded: false }))
      throw error
    }
  }

  async function takeBack(): Promise<void> {
    for (const { infoHash, expires, issued } of await records.ended()) {
      const isOver = expires <= environment.clock.now() || (await records.head(infoHash)) !== undefined
      const time = issueTime({ issued, expires, terms: '' })
      if (!isOver) await send({ infoHash, price: '0', public: true }, time, time)
      await records.forgetEnded(infoHash)
    }
  }

  async function round(): Promise<void> {
    const failures: unknown[] = []
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      // A repository that does not answer is not asked a thousand times.
      if (failures.some((failure) => codeOf(failure) === 'peer-failed')) return
      await work().catch((error: unknown) => failures.push(error))
    }
    for (const head of await records.heads()) await attempt(() => publish(head))
    await attempt(takeBack)
    if (failures.length > 0) throw failures[0] as Error
  }

  return { publish, takeBack, round }
}

const codeOf = (error: unknown): string | undefined => (error instanceof Problem ? error.code : undefined)

const split = (leaves: Bytes): Bytes[] =>
  Array.from({ length: leaves.length / HASH_BYTES }, (_, i) => leaves.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))
