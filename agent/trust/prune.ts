/**
 * Distrust, with what comes with it: who is lost by it is said before and after, the tree of those whom an id brought in
 * goes with it where the owner says so, and who vouched for it is believed less and told.
 */
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { notify } from '../../protocol/notice.ts'
import { readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { firstVoucherTree, lossOf, vouchersOf } from '../../protocol/prune.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { EvaluateOptions } from '../../protocol/trust.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { Distrusts } from './distrusts.ts'
import type { Surroundings } from './surroundings.ts'

export interface PruneReport {
  /** Ids in hex that are distrusted by it: the one, and with `tree` all that came in by it. */
  readonly pruned: readonly string[]
  /** Those that were trusted and are no longer, pruned ones among them. */
  readonly lost: readonly string[]
  /** Those that stay trusted by another path, with what they have then. */
  readonly weaker: readonly { readonly id: string; readonly depth: number; readonly credit: number }[]
  /** Who vouched for it, and how many times the credit of a vouch for them is halved from then on. */
  readonly vouchers: readonly { readonly id: string; readonly halved: number }[]
  /** False when not all books around could be read: more may be lost. */
  readonly isWhole: boolean
}

export interface PruneRequest {
  /** With all that came in by it. */
  readonly tree?: boolean
  /** Says what it would come to, and leaves all as it is. */
  readonly preview?: boolean
}

export interface Pruner {
  /** @param id hex. @throws Problem `bad-request` for the owner itself */
  prune(id: string, request: PruneRequest): Promise<PruneReport>
  /** Sends notices that the repository has not taken yet. */
  maintain(): Promise<void>
}

export interface PrunerParts {
  readonly distrusts: Distrusts
  readonly lookAround: () => Promise<Surroundings>
}

interface NoticeRecord {
  readonly notice: EnvelopeJson
  readonly untilMs: number
}

const NOTICES = 'notices'

export function createPruner(context: AgentContext, { distrusts, lookAround }: PrunerParts): Pruner {
  const { owner, store, repository, environment, signer, delegation } = context
  const { clock } = environment

  async function prune(id: string, { tree = false, preview = false }: PruneRequest): Promise<PruneReport> {
    if (id === toHex(owner)) throw new Problem('bad-request', 'You cannot distrust yourself.')
    const now = await distrusts.current()
    // At once, for what is under way: what it comes to is found out after.
    if (!preview) await distrusts.add([id], {})
    const { edges, isWhole } = await lookAround()
    // Who came in by it is seen while it is trusted: it may be distrusted by now, by a prune that came to no end too.
    const before = { ...now, distrusted: now.distrusted.difference(new Set([id])) }
    const pruned = tree ? firstVoucherTree(owner, edges, id, before) : [id]
    const vouchers = vouchersOf(owner, edges, id, before).filter((voucher) => !pruned.includes(voucher))
    const blamed = distrusts.blamedFor(id)
    const fresh = vouchers.filter((voucher) => !blamed.includes(voucher))
    const halved = new Map(now.halved)
    for (const voucher of fresh) halved.set(voucher, (halved.get(voucher) ?? 0) + 1)
    const then: EvaluateOptions = { distrusted: new Set([...now.distrusted, ...pruned]), halved }
    const said = (ids: readonly string[]) => ids.map((voucher) => ({ id: voucher, halved: halved.get(voucher) ?? 0 }))
    if (!preview) {
      // Once they are blamed they are told of it no more.
      await tell(id, said(fresh))
      await distrusts.add(pruned, { [id]: [...blamed, ...fresh] })
    }
    return { pruned, ...lossOf(owner, edges, now, then), vouchers: said(vouchers), isWhole }
  }

  async function tell(id: string, vouchers: PruneReport['vouchers']): Promise<void> {
    const issued = clock.now()
    const subject = fromHex(id)
    for (const voucher of vouchers) {
      const terms = { by: owner, issued, subject, times: voucher.halved, to: fromHex(voucher.id) }
      const record: NoticeRecord = {
        notice: envelopeToJson(notify(terms, signer)),
        untilMs: issued + limits.noticeMs,
      }
      await store.write([{ pk: NOTICES, sk: `${voucher.id}/${id}`, expect: 'any', body: encodeRecord(record) }])
    }
  }

  async function maintain(): Promise<void> {
    const waiting = await readAll(store, NOTICES, (item) => ({ sk: item.sk, ...decodeRecord<NoticeRecord>(item) }))
    for (const { sk, notice, untilMs } of waiting) {
      const isOver = untilMs <= clock.now() || (await isSettled(envelopeFromJson(notice)))
      if (!isOver) return
      await store.write([{ pk: NOTICES, sk, expect: 'any' }])
    }
  }

  /** Taken, or refused for good: the voucher may have taken its vouch back already. */
  const isSettled = (notice: Envelope): Promise<boolean> =>
    repository.putNotice(notice, delegation).then(
      () => true,
      (error: unknown) => {
        unlessBug(error)
        return (error as Problem).code !== 'peer-failed'
      },
    )

  return { prune, maintain }
}
