/**
 * The log as plain objects, for a bucket or a folder that a CDN serves: checkpoint, tiles and entry bundles under the
 * paths of C2SP tlog-tiles. Tiles and bundles never change once they are there; the checkpoint is put last, so whatever
 * it covers is there before it.
 *
 * A log in shards has each shard's under its own path, and all of them before the root log's.
 *
 * - A crash between two objects: the next round puts them all again, as they are the same.
 * - Several processes at once: they put the same objects. A checkpoint that comes late over a newer one is put right by
 *   who put it: the store knows which is the newest. Who was killed before that leaves it to the others, which put the
 *   newest again as often as witnesses are asked again, also while the log rests.
 */
import { decode, encode, field, fields } from '../protocol/encoding.ts'
import { decideAndWrite } from '../protocol/items.ts'
import { limits } from '../protocol/limits.ts'
import { utf8, type Bytes } from '../protocol/bytes.ts'
import { noteText, parseCheckpoint } from '../protocol/checkpoint.ts'
import { shardPath } from '../protocol/shards.ts'
import { tilePath, tileWidth, type Tile } from '../protocol/tile.ts'
import type { Clock } from '../protocol/environment.ts'
import type { Store } from '../protocol/store.ts'
import type { LedgerContext } from './context.ts'
import { readLogTile } from './log.ts'
import { FOREVER, REVALIDATE } from '../protocol/tile-api.ts'
import { readShown, shardsOf } from './shards.ts'
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
  const { clock } = context.environment
  const root = createCopy(context.store, objects, clock)
  const isOne = context.policy.shards === undefined
  const shards = isOne
    ? []
    : shardsOf(context).map(({ store }, shard) => createCopy(store, under(shard, objects), clock))

  return {
    async round() {
      const note = await readCheckpoint(context)
      if (note === '') return
      const joined = isOne ? [] : await readShown(context.store, note)
      await Promise.all(shards.map((shard, i) => shard.putTiles(joined[i] ?? '')))
      await root.putTiles(note)
      await root.putCheckpoint(note)
      // Last, so that whatever checkpoint of a shard is there is in the root log that is there.
      await Promise.all(shards.map((shard, i) => shard.putCheckpoint(joined[i] ?? '')))
    },
  }
}

const under = (shard: number, objects: ObjectStore): ObjectStore => ({
  put: (path, body, headers) => objects.put(shardPath(shard) + path, body, headers),
})

/** One log's copy. */
function createCopy(store: Store, objects: ObjectStore, clock: Clock) {
  /** When this process put the checkpoint last. */
  let putMs: number | undefined
  const isOld = (): boolean => putMs === undefined || Math.abs(clock.now() - putMs) >= limits.cosignedAgainMs

  async function put(tile: Tile): Promise<void> {
    await objects.put(tilePath(tile), await readLogTile(store, tile), {
      contentType: 'application/octet-stream',
      cacheControl: FOREVER,
    })
  }

  const putNote = (note: string): Promise<void> =>
    objects.put('checkpoint', utf8(note), { contentType: 'text/plain; charset=utf-8', cacheControl: REVALIDATE })

  async function isNews(note: string): Promise<boolean> {
    const exported = await readExported(store)
    return note !== '' && note !== exported.note && sizeOf(note) >= exported.size
  }

  return {
    async putTiles(note: string): Promise<void> {
      if (!(await isNews(note))) return
      const tiles = tilesBetween((await readExported(store)).size, sizeOf(note))
      for (let at = 0; at < tiles.length; at += AT_ONCE) await Promise.all(tiles.slice(at, at + AT_ONCE).map(put))
    },
    async putCheckpoint(note: string): Promise<void> {
      if (note === '' || !((await isNews(note)) || isOld())) return
      await putNote(note)
      const newest = await record(store, { note, size: sizeOf(note) })
      if (newest !== note) await putNote(newest)
      putMs = clock.now()
    },
  }
}

const sizeOf = (note: string): number => parseCheckpoint(noteText(note)).size

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
