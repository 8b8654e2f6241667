/** Disputes on their way to the ledger: kept until it has judged. */
import { putAll, readAll } from '../../protocol/items.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Grievance {
  /** Of the lane, hex. */
  readonly lane: string
  readonly label: Envelope
  readonly dispute: Envelope
}

export interface Disputes {
  /** Durable once it resolves. */
  add(download: string, grievance: Grievance): Promise<void>
  /** @returns the lanes whose disputes the ledger has not judged: it did not answer */
  post(download: string): Promise<ReadonlySet<string>>
}

interface Kept {
  readonly lane: string
  readonly label: EnvelopeJson
  readonly dispute: EnvelopeJson
}

/** What may pass; anything else that the ledger says is its word. */
const PASSING: ReadonlySet<ProblemCode> = new Set(['peer-failed', 'conflict', 'limit-reached', 'delegation-exceeded'])

const keyOf = (download: string): string => `disputes/${download}`

export function createDisputes({ ledger, store }: Pick<AgentContext, 'ledger' | 'store'>): Disputes {
  async function isJudged({ label, dispute }: Kept): Promise<boolean> {
    try {
      await ledger.dispute(envelopeFromJson(label), envelopeFromJson(dispute))
      return true
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      return !PASSING.has(error.code)
    }
  }

  return {
    async add(download, { lane, label, dispute }) {
      const kept: Kept = { lane, label: envelopeToJson(label), dispute: envelopeToJson(dispute) }
      await putAll(store, [{ pk: keyOf(download), sk: lane, body: encodeRecord(kept) }])
    },
    async post(download) {
      const left = new Set<string>()
      for (const kept of await readAll(store, keyOf(download), (item) => decodeRecord<Kept>(item))) {
        if (await isJudged(kept)) await putAll(store, [{ pk: keyOf(download), sk: kept.lane }])
        else left.add(kept.lane)
      }
      return left
    },
  }
}
