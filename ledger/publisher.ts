/**
 * The log as plain objects, for a bucket or a folder that a CDN serves: checkpoint, tiles and entry bundles under the
 * paths of C2SP tlog-tiles. Tiles and bundles never change once they are there; the checkpoint is put last, so whatever
 * it covers is there before it.
 *
 * - A crash between two objects: the next round puts them all again, as they are the same.
 * - Several processes at once: they put the same objects. A checkpoint that comes late over a newer one is put right by
 *   who put it: the store knows which is the newest.
 */
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decideAndWrite } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { utf8, type Bytes } from '../protocol/bytes.ts'
import { parseCheckpoint } from '../protocol/checkpoint.ts'
import { tilePath, tileWidth, type Tile } from '../protocol/tile.ts'
import type { Store } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { readLogTile } from './log.ts'
import { FOREVER, REVALIDATE } from '../protocol/tile-api.ts'
import { readCheckpoint } from './witnessing.ts'

/** How an object is served. */
export interface ObjectHeaders {
  readonly contentType: string
  readonly cacheControl: string
}

/** Where objects are put, by path. */
export interface ObjectStore {
  /** Durable once it resolves; whatever was there is replaced. @throws Problem `storage-unavailable` */
  put(path: string, body: Bytes, headers: ObjectHeaders): Promise<void>
}

export interface Publisher {
  /** Puts what the log has grown by since the last round. @throws Problem: to be run again */
  round(): Promise<void>
}

const EXPORTED = { pk: 'log', sk: 'exported' }
const AT_ONCE = 16
const shape = { note: field.text(), size: field.integer() }

export function createPublisher(context: LedgerContext, objects: ObjectStore): Publisher {
  const { store } = context

  async function put(tile: Tile): Promise<void> {
    await objects.put(tilePath(tile), await readLogTile(store, tile), {
      contentType: 'application/octet-stream',
      cacheControl: FOREVER,
    })
  }

  const putCheckpoint = (note: string): Promise<void> =>
    objects.put('checkpoint', utf8(note), { contentType: 'text/plain; charset=utf-8', cacheControl: REVALIDATE })

  return {
    async round() {
      const note = await readCheckpoint(context)
      const exported = await readExported(store)
      if (note === '' || note === exported.note) return
      const { size } = parseCheckpoint(note.slice(0, note.lastIndexOf('\n\n') + 1))
      if (size < exported.size) return
      const tiles = tilesBetween(exported.size, size)
      for (let at = 0; at < tiles.length; at += AT_ONCE) await Promise.all(tiles.slice(at, at + AT_ONCE).map(put))
      await putCheckpoint(note)
      const newest = await record(store, { note, size })
      if (newest !== note) await putCheckpoint(newest)
    },
  }
}

async function readExported(store: Store): Promise<{ version: number; note: string; size: number }> {
  const item = await store.get(EXPORTED.pk, EXPORTED.sk)
  return item ? { version: item.version, ...fields(decode(item.body), shape) } : { version: 0, note: '', size: 0 }
}

/** @returns the newest checkpoint that was put */
const record = (store: Store, put: { note: string; size: number }): Promise<string> =>
  decideAndWrite(store, async () => {
    const known = await readExported(store)
    if (known.size > put.size) return { changes: [], result: known.note }
    return { changes: [{ ...EXPORTED, expect: known.version, body: encode(put) }], result: put.note }
  })

/** Tiles and bundles of the tree of `size` leaves that the tree of `from` has not, or not as wide. */
export function tilesBetween(from: number, size: number): Tile[] {
  const tiles: Tile[] = []
  for (let level = 0; limits.entriesPerTile ** level <= size; level++) {
    const [known, now] = [from, size].map((leaves) => Math.floor(leaves / limits.entriesPerTile ** level)) as [
      number,
      number,
    ]
    if (known === now) continue
    for (let index = Math.floor(known / limits.entriesPerTile); index * limits.entriesPerTile < now; index++) {
      const width = tileWidth(level, index, size)
      tiles.push({ level, index, width }, ...(level === 0 ? [{ level: 'entries', index, width } as const] : []))
    }
  }
  return tiles
}
