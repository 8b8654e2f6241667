/** Writes entries into a folder as the tiles of a log, with its checkpoints. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Bytes } from '../../protocol/bytes.ts'
import { formatCheckpoint, noteKey, signNote } from '../../protocol/checkpoint.ts'
import { entryHash } from '../../protocol/entry.ts'
import { limits } from '../../protocol/limits.ts'
import { append, EMPTY_FRONTIER, frontierRoot } from '../../protocol/merkle.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { encodeBundle, growTiles, tilePath, type Edge } from '../../protocol/tile.ts'
import { ORIGIN, SECRET } from '../ledger/kit.ts'

export const LOG_KEY = noteKey(ORIGIN, signerFrom(SECRET).key)

export interface LogWriter {
  isDone(): boolean
  /** What comes after the end is left out. */
  add(entry: Bytes): void
}

/** @param sizes at each of which the log gets a checkpoint, in the file `checkpoint.<size>`; the last is its end, and in `checkpoint` too */
export function createLogWriter(dir: string, sizes: readonly number[]): LogWriter {
  let frontier = EMPTY_FRONTIER
  let edge: Edge = []
  let entries: Bytes[] = []
  const ends = new Set(sizes)
  const last = Math.max(...sizes)

  function put(path: string, body: Bytes | string): void {
    mkdirSync(dirname(join(dir, path)), { recursive: true })
    writeFileSync(join(dir, path), body)
  }

  /** Of the entries since the last full bundle; kept for good when they fill one. */
  function flush(): void {
    const index = Math.floor(frontier.size / limits.entriesPerTile)
    const hashes = entries.map(entryHash)
    const grown = growTiles(edge, frontier.size, hashes)
    for (const { tile, bytes } of grown.tiles) put(tilePath(tile), bytes)
    put(tilePath({ level: 'entries', index, width: entries.length }), encodeBundle(entries))
    const tree = append(frontier, hashes)
    if (ends.has(tree.size)) {
      const text = formatCheckpoint({ origin: ORIGIN, size: tree.size, rootHash: frontierRoot(tree) })
      const note = signNote(text, { name: ORIGIN, signer: signerFrom(SECRET) })
      for (const name of [`checkpoint.${tree.size}`, 'checkpoint']) put(name, note)
    }
    if (entries.length < limits.entriesPerTile) return
    frontier = tree
    edge = grown.edge
    entries = []
  }

  return {
    isDone: () => frontier.size + entries.length >= last,
    add(entry) {
      if (frontier.size + entries.length >= last) return
      entries.push(entry)
      if (entries.length === limits.entriesPerTile || ends.has(frontier.size + entries.length)) flush()
    },
  }
}
