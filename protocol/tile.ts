/**
 * Tiles of a log (C2SP tlog-tiles): the tree in rows of 256 hashes, each hash of a row at level l + 1 the root of one
 * full tile at level l, and the entries in bundles of 256.
 *
 * @example tilePath({ level: 0, index: 1234067, width: 256 }) // 'tile/0/x001/x234/067'
 */
import { concat, type Bytes } from './bytes.ts'
import { append, EMPTY_FRONTIER, frontierRoot, HASH_BYTES, levelsOf, type Node, type NodeReader } from './merkle.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

/** Levels of the tree that one tile spans; its bottom row is what it holds. */
const TILE_HEIGHT = 8
const FULL_WIDTH = limits.entriesPerTile
const LEVEL_MAX = 63

export interface Tile {
  /** 0 to 63; `entries` for a bundle of entries, which has the index and width of the level 0 tile of their hashes. */
  readonly level: number | 'entries'
  readonly index: number
  /** Hashes or entries in it: 256 in a full tile, 1 to 255 in a partial one. */
  readonly width: number
}

/** A tile that is not of entries. */
export type HashTile = Tile & { readonly level: number }

/** `tile/<level>/<index>[.p/<width>]`, the index in groups of three digits, all but the last after an `x`. */
export function tilePath({ level, index, width }: Tile): string {
  const digits = index.toString().padStart(Math.ceil(index.toString().length / 3) * 3, '0')
  const groups = digits.match(/\d{3}/g) ?? []
  const path = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join('/')
  return `tile/${level}/${path}${width === FULL_WIDTH ? '' : `.p/${width}`}`
}

const TILE_PATH = /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/

/** @throws Problem `bad-request` unless `tilePath` writes exactly this path */
export function parseTilePath(path: string): Tile {
  const [, level, groups = '', width] = TILE_PATH.exec(path) ?? []
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replace(/[x/]/g, '')),
    width: width === undefined ? FULL_WIDTH : Number(width),
  }
  const isTile = level === 'entries' || Number(level) <= LEVEL_MAX
  if (!isTile || !Number.isSafeInteger(tile.index) || tile.width > FULL_WIDTH || tilePath(tile) !== path) {
    throw new Problem('bad-request', 'A tile is at tile/<level>/<index>[.p/<width>].')
  }
  return tile
}

/** How many hashes the tile at (level, index) has in a tree of `size` leaves; 0 when it has none. */
export function tileWidth(level: Tile['level'], index: number, size: number): number {
  const hashes = Math.floor(size / FULL_WIDTH ** (level === 'entries' ? 0 : level))
  return Math.max(0, Math.min(FULL_WIDTH, hashes - index * FULL_WIDTH))
}

/** Whether a log of `size` leaves holds the tile: a partial one also once the log has outgrown it. */
export const hasTile = ({ level, index, width }: Tile, size: number): boolean => width <= tileWidth(level, index, size)

/** The hashes of a tile's bottom row. @throws Problem `bad-encoding` unless it has `width` of them */
export function tileHashes(bytes: Bytes, width: number): Bytes[] {
  if (bytes.length !== width * HASH_BYTES) throw new Problem('bad-encoding', `The tile does not hold ${width} hashes.`)
  return Array.from({ length: width }, (_, i) => bytes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES))
}

/** The rightmost tile of each level, from 0 up, as hashes: what an appender keeps. Full tiles are left out. */
export type Edge = readonly (readonly Bytes[])[]

/** The edge of the tree of `size` leaves. @param readTile the hashes of a tile in that tree */
export function readEdge(size: number, readTile: (tile: HashTile) => Promise<Bytes>): Promise<Edge> {
  const levels: number[] = []
  for (let level = 0; FULL_WIDTH ** level <= size; level++) levels.push(level)
  return Promise.all(
    levels.map(async (level) => {
      const index = Math.floor(size / FULL_WIDTH ** (level + 1))
      const width = tileWidth(level, index, size)
      return width > 0 ? tileHashes(await readTile({ level, index, width }), width) : []
    }),
  )
}

export interface TileUpdate {
  readonly tile: HashTile
  readonly bytes: Bytes
}

/**
 * The tiles that new leaves fill or widen, and the edge after it.
 * @param edge of the tree of `size` leaves: at level l its last `floor(size / 256^l) mod 256` hashes
 */
export function growTiles(
  edge: Edge,
  size: number,
  leafHashes: readonly Bytes[],
): { readonly edge: Edge; readonly tiles: readonly TileUpdate[] } {
  const grown: (readonly Bytes[])[] = []
  const tiles: TileUpdate[] = []
  let added = leafHashes
  for (let level = 0; added.length > 0 || level < edge.length; level++) {
    const first = Math.floor(size / FULL_WIDTH ** (level + 1))
    const rows = rowsOf([...(edge[level] ?? []), ...added])
    if (added.length > 0) tiles.push(...rows.map((row, i) => tileOf(level, first + i, row)))
    const full = rows.filter((row) => row.length === FULL_WIDTH)
    grown.push(rows[full.length] ?? [])
    added = full.map(rowRoot)
  }
  return { edge: grown, tiles }
}

const rowsOf = (hashes: readonly Bytes[]): (readonly Bytes[])[] =>
  Array.from({ length: Math.ceil(hashes.length / FULL_WIDTH) }, (_, i) =>
    hashes.slice(i * FULL_WIDTH, (i + 1) * FULL_WIDTH),
  )

const tileOf = (level: number, index: number, row: readonly Bytes[]): TileUpdate => ({
  tile: { level, index, width: row.length },
  bytes: concat(...row),
})

const rowRoot = (row: readonly Bytes[]): Bytes => frontierRoot(append(EMPTY_FRONTIER, row))

/** The tile of a tree of `size` leaves that holds a perfect subtree's hash, or the hashes below it. */
function tileOfNode({ level, index }: Node, size: number): HashTile {
  const tileLevel = Math.floor(level / TILE_HEIGHT)
  const tileIndex = Math.floor(index / 2 ** (TILE_HEIGHT - (level % TILE_HEIGHT)))
  return { level: tileLevel, index: tileIndex, width: tileWidth(tileLevel, tileIndex, size) }
}

/** The tiles on the way of a proof, twice over. */
const KEPT_TILES = 16

/**
 * Reads the subtrees of a tree of `size` leaves out of its tiles. They never change: the latest are kept, so that proofs
 * of entries that lie close together read each tile once.
 * @param readTile the tile's hashes; it is asked for the width that the tile has in that tree
 */
export function tileNodeReader(size: number, readTile: (tile: HashTile) => Promise<Bytes>): NodeReader {
  const kept = new Map<string, Promise<readonly (readonly Bytes[])[]>>()

  function rowsOf(tile: HashTile): Promise<readonly (readonly Bytes[])[]> {
    const path = tilePath(tile)
    const rows = kept.get(path) ?? readTile(tile).then((bytes) => levelsOf(tileHashes(bytes, tile.width)))
    kept.delete(path)
    kept.set(path, rows)
    // What could not be read may be there the next time.
    rows.catch(() => kept.delete(path))
    if (kept.size > KEPT_TILES) kept.delete(kept.keys().next().value as string)
    return rows
  }

  return (nodes) =>
    Promise.all(
      nodes.map(async (node) => {
        const rows = await rowsOf(tileOfNode(node, size))
        const height = node.level % TILE_HEIGHT
        return rows[height]?.[node.index % 2 ** (TILE_HEIGHT - height)] as Bytes
      }),
    )
}

/** An entry bundle: each entry after its length as a big-endian uint16. @throws Problem `too-large` for an entry over 65,535 bytes */
export function encodeBundle(entries: readonly Uint8Array[]): Bytes {
  return concat(
    ...entries.flatMap((entry) => {
      if (entry.length > limits.entryBytes)
        throw new Problem('too-large', `An entry has at most ${limits.entryBytes} bytes.`)
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry]
    }),
  )
}

/** @throws Problem `bad-encoding` unless the bundle is `width` whole entries */
export function decodeBundle(bytes: Bytes, width: number): Bytes[] {
  const entries: Bytes[] = []
  let at = 0
  while (at + 2 <= bytes.length && entries.length < width) {
    const start = at + 2
    at = start + (((bytes[at] as number) << 8) | (bytes[at + 1] as number))
    if (at <= bytes.length) entries.push(bytes.slice(start, at))
  }
  if (at !== bytes.length || entries.length !== width) {
    throw new Problem('bad-encoding', `The bundle does not hold ${width} entries.`)
  }
  return entries
}
