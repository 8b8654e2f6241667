/** What owners share under a name, edition after edition: of each owner the newest, for followers to ask for. */
import { equal, toHex, type Bytes } from '../protocol/bytes.ts'
import { parseEdition, requireEditor, type Edition } from '../protocol/edition.ts'
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decideAndWrite, type Decision } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import { objectId, type Envelope } from '../protocol/signed.ts'
import type { Change, Item } from '../protocol/store.ts'
import type { RepositoryContext } from './context.ts'
import type { Identities } from './identities.ts'
import { editionsKey, paddedTime } from './keys.ts'
import { envelopeField } from './stored.ts'

export interface KeptEdition {
  readonly edition: Envelope
  readonly delegation?: Envelope
}

export interface Editions {
  /**
   * The very same again changes nothing. Some may be missing before it: followers see that.
   * @throws Problem `not-found` (member `missing`: `identity`), `conflict` (member `seq`: the newest) for one that is not
   *   newer, follows another or is far ahead, `bad-request` for one of the future, and those of `parseEdition` and `requireEditor`
   */
  put(edition: Envelope, delegation?: Envelope): Promise<{ readonly edition: Edition; readonly changed: boolean }>
  /** In their order: those after a number, or the newest; up to `limits.editionsAnswered`. */
  list(by: Bytes, after?: number): Promise<readonly KeptEdition[]>
}

const HEAD = 'head'
const NUMBERED = 'n/'
const headShape = { count: field.integer(), id: field.bytes(32), seq: field.integer() }
const keptShape = { delegation: field.optional(envelopeField), edition: envelopeField }

const numbered = (seq: number): string => NUMBERED + paddedTime(seq)

export function createEditions({ store, environment }: RepositoryContext, identities: Identities): Editions {
  async function put(envelope: Envelope, delegation?: Envelope) {
    const edition = parseEdition(envelope)
    const nowMs = environment.clock.now()
    requireEditor(edition, await identities.require(edition.by), delegation, nowMs)
    if (edition.issued > nowMs + limits.clockSkewMs)
      throw new Problem('bad-request', 'The edition was issued in the future.')
    const body = encode({ delegation: delegation && { ...delegation }, edition: { ...envelope } })
    const changed = await decideAndWrite(store, () => decide(edition, body))
    return { edition, changed }
  }

  async function decide(edition: Edition, body: Bytes): Promise<Decision<boolean>> {
    const { id, seq } = edition
    const pk = editionsKey(edition.by)
    const item = await store.get(pk, HEAD)
    const head = item && fields(decode(item.body), headShape)
    if (head && seq <= head.seq) {
      const kept = await store.get(pk, numbered(seq))
      if (kept && equal(objectId('edition', readKept(kept).edition.body), id)) return { changes: [], result: false }
      throw new Problem('conflict', 'A later edition of this owner is known, or another of this number.', {
        seq: head.seq,
      })
    }
    // Whoever steals an agent's key must not be able to use up the owner's numbers.
    if (seq > (head ? head.seq + limits.editionsSkipped : limits.editionsBefore))
      throw new Problem('conflict', 'The edition is too far after the newest that is known.', { seq: head?.seq })
    if (head && seq === head.seq + 1 && !equal(edition.prev ?? id, head.id))
      throw new Problem('conflict', 'The edition follows another than the one that is known.', { seq: head.seq })
    const count = head?.count ?? 0
    const oldest = count < limits.editionsPerOwner ? [] : await store.list(pk, { prefix: NUMBERED, limit: 1 })
    const next = encode({ count: count + 1 - oldest.length, id, seq })
    const changes: Change[] = [
      { pk, sk: HEAD, expect: item?.version ?? 0, body: next },
      { pk, sk: numbered(seq), expect: 'any', body },
      ...oldest.map(({ sk }) => ({ pk, sk, expect: 'any' as const })),
    ]
    return { changes, result: true }
  }

  async function list(by: Bytes, after?: number): Promise<KeptEdition[]> {
    const range = { prefix: NUMBERED, limit: limits.editionsAnswered }
    if (after !== undefined)
      return (await store.list(editionsKey(by), { ...range, after: numbered(after) })).map(readKept)
    return (await store.list(editionsKey(by), { ...range, reverse: true })).map(readKept).toReversed()
  }

  return { put, list }
}

function readKept({ body }: Item): KeptEdition {
  const { edition, delegation } = fields(decode(body), keptShape)
  return { edition, ...(delegation && { delegation }) }
}

/** How a reply names one. */
export const placeOf = ({ by, name, seq }: Edition) => ({ by: toHex(by), name, seq })
