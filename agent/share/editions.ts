/**
 * The owner's editions: signed one after the other, told to the repository in that order. Signing one and noting so in its
 * share is one write, so that each is signed once; what was signed is told until the repository has it.
 *
 * `share/editions`: `latest` -> the newest. `share/series`: hash of a name -> what the series holds.
 */
import { sha256 } from '#primitives'
import { fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { parseEdition, publishEdition, requireEditor } from '../../protocol/edition.ts'
import { hasSpokenFor, replay } from '../../protocol/identity.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, objectId, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Item } from '../../protocol/store.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import type { ShareHead, ShareRecords } from './records.ts'

export interface Editions {
  /** Of a share that is in a series: its edition is signed, and told. @throws Problem `conflict` when another came first, `peer-failed` */
  tell(head: ShareHead): Promise<void>
  /** What was signed and not told. @throws Problem of the repository */
  flush(): Promise<void>
  /** What a series holds, v2; undefined for one that is new. */
  newest(name: string): Promise<string | undefined>
}

interface Latest {
  readonly seq: number
  readonly infoHash: string
  readonly name: string
  readonly envelope: EnvelopeJson
  readonly isTold: boolean
}

interface Link {
  readonly seq: number
  readonly id: Bytes
}

const EDITIONS = 'share/editions'
const LATEST = 'latest'
const SERIES = 'share/series'
const seriesKey = (name: string): string => toHex(sha256(utf8(name)))

export function createEditions(context: AgentContext, records: ShareRecords): Editions {
  const { store, repository, signer, delegation, owner, environment } = context

  async function newest(name: string): Promise<string | undefined> {
    const item = await store.get(SERIES, seriesKey(name))
    return item && decodeRecord<string>(item)
  }

  async function tell({ infoHash }: ShareHead): Promise<void> {
    const item = await toldLatest()
    const { edition } = (await records.head(infoHash)) ?? {}
    if (!edition || edition.isSigned) return
    const held = await newest(edition.name)
    if (held === infoHash) return void (await records.change(infoHash, signedHead))
    const latest = sign(infoHash, edition.name, held ?? edition.before, await lastOf(item))
    const changed = await records.changing(infoHash, signedHead)
    const isWritten =
      changed !== undefined &&
      (await store.write([
        { pk: EDITIONS, sk: LATEST, expect: item?.version ?? 0, body: encodeRecord(latest) },
        { pk: SERIES, sk: seriesKey(edition.name), expect: 'any', body: encodeRecord(infoHash) },
        changed.change,
      ]))
    if (!isWritten) throw new Problem('conflict', 'Another share came first: its edition is told in the next round.')
    await toldLatest()
  }

  function sign(infoHash: string, name: string, before: string | undefined, last: Link | undefined): Latest {
    const seq = last ? last.seq + 1 : 0
    const replaced = before !== undefined && before !== infoHash && { before: fromHex(before) }
    const terms = { by: owner, infoHash: fromHex(infoHash), issued: environment.clock.now(), name, seq }
    const envelope = publishEdition({ ...terms, ...replaced, ...(last && { prev: last.id }) }, signer)
    return { seq, infoHash, name, envelope: envelopeToJson(envelope), isTold: false }
  }

  /** The latest edition, once the repository has it. */
  async function toldLatest(): Promise<Item | undefined> {
    const item = await store.get(EDITIONS, LATEST)
    const latest = item && decodeRecord<Latest>(item)
    if (!latest || latest.isTold) return item
    try {
      await repository.putEdition(envelopeFromJson(latest.envelope), delegation)
    } catch (error) {
      if (error instanceof Problem && error.code === 'conflict') await forget(item, latest)
      throw error
    }
    const body = encodeRecord({ ...latest, isTold: true })
    await store.write([{ pk: EDITIONS, sk: LATEST, expect: item.version, body }])
    return store.get(EDITIONS, LATEST)
  }

  /** The repository knows later ones, of an agent of before: this one is signed anew, after those. */
  async function forget(item: Item, { infoHash, name }: Latest): Promise<void> {
    const changed = await records.changing(infoHash, ({ edition, ...head }) =>
      edition ? { ...head, edition: { ...edition, isSigned: false } } : head,
    )
    await store.write([
      { pk: EDITIONS, sk: LATEST, expect: item.version },
      { pk: SERIES, sk: seriesKey(name), expect: 'any' },
      ...(changed ? [changed.change] : []),
    ])
  }

  /** Where nothing was signed here yet, the chain goes on from what the repository shows of the owner's, of earlier keys too. */
  async function lastOf(item: Item | undefined): Promise<Link | undefined> {
    if (item) {
      const { seq, envelope } = decodeRecord<Latest>(item)
      return { seq, id: objectId('edition', envelopeFromJson(envelope).body) }
    }
    const shown = (await repository.editions(toHex(owner))).at(-1)
    if (!shown) return undefined
    const edition = parseEdition(shown.edition)
    const state = replay(context.operations, environment.clock.now())
    requireEditor(edition, state, shown.delegation, edition.issued, (key) => hasSpokenFor(state, key))
    return edition
  }

  return { tell, newest, flush: async () => void (await toldLatest()) }
}

const signedHead = ({ edition, ...head }: ShareHead): ShareHead =>
  edition ? { ...head, edition: { ...edition, isSigned: true } } : head
