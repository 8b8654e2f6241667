/** What vouchers were told: notices of distrusts, kept for their agents to ask for. */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { readAll } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { parseNotice, requireNotifier } from '../protocol/notice.ts'
import { Problem } from '../protocol/problem.ts'
import type { Envelope } from '../protocol/signed.ts'
import type { Item } from '../protocol/store.ts'
import type { RepositoryContext } from './context.ts'
import type { Identities } from './identities.ts'
import { noticeKey } from './keys.ts'
import type { Neighbourhoods } from './neighbourhoods.ts'
import { envelopeField } from './stored.ts'

export interface KeptNotice {
  readonly notice: Envelope
  readonly delegation?: Envelope
}

export interface Notices {
  /**
   * Takes the place of the notice before, of the same sender about the same subject.
   * @throws Problem `not-found` (member `missing`: `identity`; or `vouch`, when who is told does not vouch for the subject),
   *   `conflict` for one that is not newer, `expired`, `bad-request` for one of the future, `limit-reached`, and those of
   *   `parseNotice` and `requireNotifier`
   */
  put(notice: Envelope, delegation?: Envelope): Promise<{ readonly changed: boolean }>
  /** Those of an id, of the last `limits.noticeMs`. */
  list(id: Bytes): Promise<readonly KeptNotice[]>
}

const keptShape = {
  delegation: field.optional(envelopeField),
  issued: field.integer(),
  notice: envelopeField,
}

const readKept = ({ sk, body }: Item) => ({ sk, ...fields(decode(body), keptShape) })

export function createNotices(
  { store, environment }: RepositoryContext,
  identities: Identities,
  neighbourhoods: Neighbourhoods,
): Notices {
  async function put(envelope: Envelope, delegation?: Envelope): Promise<{ changed: boolean }> {
    const notice = parseNotice(envelope)
    const nowMs = environment.clock.now()
    requireNotifier(notice, await identities.require(notice.by), delegation, nowMs)
    if (notice.issued > nowMs + limits.clockSkewMs) throw new Problem('bad-request', 'The notice is of the future.')
    if (notice.issued + limits.noticeMs <= nowMs) throw new Problem('expired', 'The notice is too old.')
    const opened = await neighbourhoods.open(notice.to)
    if (!opened?.edges.some(({ subject }) => equal(subject, notice.subject)))
      throw new Problem('not-found', 'The recipient of the notice does not vouch for its subject.', {
        missing: 'vouch',
      })
    const [pk, sk] = [noticeKey(notice.to), `${toHex(notice.by)}/${toHex(notice.subject)}`]
    const kept = await readAll(store, pk, readKept)
    const before = kept.find((each) => each.sk === sk)
    if (before && before.issued === notice.issued) return { changed: false }
    if (before && before.issued > notice.issued) throw new Problem('conflict', 'A newer notice is known.')
    const old = kept.filter(({ issued }) => issued + limits.noticeMs <= nowMs)
    if (!before && kept.length - old.length >= limits.noticesPerIdentity)
      throw new Problem('limit-reached', `At most ${limits.noticesPerIdentity} notices are kept for an id.`)
    const body = encode({ delegation: delegation && { ...delegation }, issued: notice.issued, notice: { ...envelope } })
    await store.write([
      { pk, sk, expect: 'any', body },
      ...old
        .filter((each) => each.sk !== sk)
        .slice(0, limits.changesPerWrite - 1)
        .map((each) => ({ pk, sk: each.sk, expect: 'any' as const })),
    ])
    return { changed: true }
  }

  async function list(id: Bytes): Promise<KeptNotice[]> {
    const nowMs = environment.clock.now()
    const kept = await readAll(store, noticeKey(id), readKept)
    return kept
      .filter(({ issued }) => issued + limits.noticeMs > nowMs)
      .slice(0, limits.noticesPerIdentity)
      .map(({ notice, delegation }) => ({ notice, ...(delegation && { delegation }) }))
  }

  return { put, list }
}
