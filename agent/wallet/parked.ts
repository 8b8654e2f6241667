/**
 * Sealed pieces that were paid for and whose key did not come, kept as they came: should their seller redeem the tick
 * after all, the ledger shows the key, and then they are read, or disputed.
 */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { putAll, readAll, removeAll, type Put } from '../../protocol/items.ts'
import type { PieceShape } from '../../protocol/sealed.ts'
import type { EnvelopeJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Parked {
  /** Of the lane, hex: each has one at the most. */
  readonly lane: string
  readonly unit: number
  readonly shape: PieceShape
  readonly label: EnvelopeJson
}

export interface Parking {
  list(): Promise<readonly Parked[]>
  /** Durable once it resolves. */
  park(parked: Parked, body: Uint8Array): Promise<void>
  body(lane: string): Promise<Bytes>
  forget(lane: string): Promise<void>
}

const CHUNK_BYTES = 256 * 1024

export function createParking(store: Store, download: string): Parking {
  const pk = `parked/${download}`
  const bodyKey = (lane: string): string => `${pk}/${lane}`
  return {
    list: () => readAll(store, pk, (item) => decodeRecord<Parked>(item)),
    async park(parked, body) {
      // The record comes last: without its body it is of no use.
      await putAll(store, chunksOf(bodyKey(parked.lane), body))
      await putAll(store, [{ pk, sk: parked.lane, body: encodeRecord(parked) }])
    },
    body: async (lane) => concat(...(await readAll(store, bodyKey(lane), ({ body }) => body))),
    async forget(lane) {
      await putAll(store, [{ pk, sk: lane }])
      await removeAll(store, bodyKey(lane))
    },
  }
}

function* chunksOf(pk: string, body: Uint8Array): Generator<Put> {
  for (let at = 0, chunk = 0; at < body.length; at += CHUNK_BYTES, chunk++) {
    yield { pk, sk: String(chunk).padStart(4, '0'), body: body.slice(at, at + CHUNK_BYTES) }
  }
}
