/** How a book is cut into items: a head, which names the run of vouches that is its own. */
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { decode, encode, field, fields, type Fields } from '../protocol/encoding.ts'
import { limits } from '../protocol/limits.ts'
import { Problem } from '../protocol/problem.ts'
import type { Envelope } from '../protocol/signed.ts'
import type { Change, Item, Store } from '../protocol/store.ts'
import { decodeVouches, encodeVouches, readHead, type Book, type SignedHead } from '../protocol/vouch.ts'
import { bookKey, padded } from './keys.ts'
import { envelopeField } from './stored.ts'

export type Equivocation = readonly [first: Envelope, second: Envelope]

const HEAD = 'head'
const PROOF = 'proof'
/** Keeps an item under `limits.itemBytes`: a vouch has about 250 bytes at most. */
const VOUCHES_PER_ITEM = 1000
const ITEMS_PER_BOOK = Math.ceil(limits.vouchesPerBook / VOUCHES_PER_ITEM)
const TRIES = 8

const headShape = {
  head: envelopeField,
  delegation: field.optional(envelopeField),
  base: field.optional(envelopeField),
  receipt: field.optional(envelopeField),
  run: field.text(),
}
const proofShape = { first: envelopeField, second: envelopeField }

export type StoredHead = Fields<typeof headShape>

export const decodeHead = (item: Item): StoredHead => fields(decode(item.body), headShape)

export const headItem = (store: Store, issuer: Bytes): Promise<Item | undefined> => store.get(bookKey(issuer), HEAD)

export const headChange = (
  issuer: Bytes,
  { head, delegation, base, receipt }: SignedHead & { readonly receipt: Envelope | undefined },
  run: string,
  expect: number,
): Change => ({
  pk: bookKey(issuer),
  sk: HEAD,
  expect,
  body: encode({
    head: { ...head },
    delegation: delegation && { ...delegation },
    base: base && { ...base },
    receipt: receipt && { ...receipt },
    run,
  }),
})

export const runPrefix = (run: string): string => `vouches/${run}/`

export function* vouchItems(issuer: Bytes, { vouches }: Book, run: string) {
  for (let at = 0; at < vouches.length; at += VOUCHES_PER_ITEM) {
    const body = encodeVouches(vouches.slice(at, at + VOUCHES_PER_ITEM))
    yield { pk: bookKey(issuer), sk: runPrefix(run) + padded(at), body }
  }
}

export async function readBook(store: Store, issuer: Bytes): Promise<Book | undefined> {
  for (let tries = 0; tries < TRIES; tries++) {
    const item = await headItem(store, issuer)
    if (!item) return undefined
    const { run, receipt: _, ...signed } = decodeHead(item)
    const items = await store.list(bookKey(issuer), { prefix: runPrefix(run), limit: ITEMS_PER_BOOK })
    const vouches = items.flatMap(({ body }) => decodeVouches(body))
    // Fewer: a successor came in between, and took this run away.
    if (vouches.length === readHead(signed.head).count) return { ...signed, vouches }
  }
  throw new Problem('store-unavailable', `The book of ${toHex(issuer)} changes too often: try again.`)
}

const LAST_PROOF = { pk: 'equivocations', sk: 'last' }

/** The last proof is kept: it says of which number no vouch counts. */
export async function keepEquivocation(store: Store, issuer: Bytes, [first, second]: Equivocation): Promise<void> {
  const body = encode({ first: { ...first }, second: { ...second } })
  await store.write([
    { pk: bookKey(issuer), sk: PROOF, expect: 'any', body },
    { ...LAST_PROOF, expect: 'any', body: issuer },
  ])
}

/** Another one as soon as a proof is kept, which no entry of the log tells. */
export const proofsVersion = async (store: Store): Promise<number> =>
  (await store.get(LAST_PROOF.pk, LAST_PROOF.sk))?.version ?? 0

export async function readEquivocation(store: Store, issuer: Bytes): Promise<Equivocation | undefined> {
  const item = await store.get(bookKey(issuer), PROOF)
  if (!item) return undefined
  const { first, second } = fields(decode(item.body), proofShape)
  return [first, second]
}
