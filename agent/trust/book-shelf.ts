/** The owner's vouch book in the agent's store. A book may be larger than an item, so its vouches are kept in parts. */
import { concat } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, type EnvelopeJson } from '../../protocol/signed.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { decodeVouches, encodeVouches, type Book } from '../../protocol/vouch.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface BookShelf {
  book(): Promise<Book | undefined>
  /** @throws Problem `conflict` when another book was put at the same time */
  putBook(book: Book): Promise<void>
  /** Whether a book is kept of which the repository has not heard. */
  isUnpublished(): Promise<boolean>
  /** Does nothing when another book has been put since. */
  markPublished(book: Book): Promise<void>
}

interface HeadRecord {
  readonly head: EnvelopeJson
  readonly delegation?: EnvelopeJson
  readonly base?: EnvelopeJson
  readonly parts: number
  readonly published: boolean
}

const PK = 'trust'
const HEAD = 'head'
const PARTS = 'vouches/'

export function createBookShelf(store: Store): BookShelf {
  const readHead = async () => {
    const item = await store.get(PK, HEAD)
    return item && { record: decodeRecord<HeadRecord>(item), version: item.version }
  }

  async function book(): Promise<Book | undefined> {
    const head = await readHead()
    if (!head) return undefined
    const { record } = head
    const parts = await store.list(PK, { prefix: PARTS, limit: record.parts })
    return {
      head: envelopeFromJson(record.head),
      ...(record.delegation && { delegation: envelopeFromJson(record.delegation) }),
      ...(record.base && { base: envelopeFromJson(record.base) }),
      vouches: decodeVouches(concat(...parts.map(({ body }) => body))),
    }
  }

  async function putBook({ head, delegation, base, vouches }: Book): Promise<void> {
    const before = await readHead()
    const bytes = encodeVouches(vouches)
    const parts = Math.ceil(bytes.length / limits.itemBytes)
    const record: HeadRecord = {
      head: envelopeToJson(head),
      ...(delegation && { delegation: envelopeToJson(delegation) }),
      ...(base && { base: envelopeToJson(base) }),
      parts,
      published: false,
    }
    const changes: Change[] = [{ pk: PK, sk: HEAD, expect: before?.version ?? 0, body: encodeRecord(record) }]
    for (let part = 0; part < Math.max(parts, before?.record.parts ?? 0); part++) {
      const body = bytes.slice(part * limits.itemBytes, (part + 1) * limits.itemBytes)
      changes.push({ pk: PK, sk: partKey(part), expect: 'any', ...(part < parts && { body }) })
    }
    if (!(await store.write(changes))) throw new Problem('conflict', 'Another book was put at the same time.')
  }

  return {
    book,
    putBook,
    isUnpublished: async () => (await readHead())?.record.published === false,
    async markPublished({ head }) {
      const kept = await readHead()
      if (kept?.record.head.body !== envelopeToJson(head).body) return
      const body = encodeRecord({ ...kept.record, published: true })
      await store.write([{ pk: PK, sk: HEAD, expect: kept.version, body }])
    },
  }
}

const partKey = (part: number): string => PARTS + String(part).padStart(3, '0')
