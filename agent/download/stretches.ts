/**
 * A large download to a storage that takes parts in any order is fetched by several workers at once. Each has a stretch of
 * its pieces, kept and worked off like a download of its own: with declarations, lanes and a seller's record of its own.
 * What they share is the torrent, the files that are written, and the record of pieces, of which each writes its share.
 */
import type { Metainfo } from '../../protocol/metainfo.ts'
import type { Journal } from './journal.ts'
import type { Sink } from './sink.ts'

/** Pieces, from the first to before the last. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** How large downloads are spread. */
export interface FanOut {
  /** Starts a worker that calls `work` for a download or a stretch; may come twice. */
  readonly wake: (id: string) => Promise<void>
  /** The most at one download. */
  readonly workers: number
  /** A stretch has so many bytes at least: it costs a declaration and a start. */
  readonly leastBytes: number
}

/** Few enough for an account whose quota is ten functions at once, of which it sells and obeys its owner with some. */
export const USUAL_FAN_OUT = { workers: 4, leastBytes: 128 * 1024 * 1024 }

const SEPARATOR = '_'

export const stretchId = (download: string, number: number): string => `${download}${SEPARATOR}${number}`

/** The download of a stretch; a download's is itself. */
export const downloadOf = (id: string): string => id.split(SEPARATOR, 1)[0] as string

export const isStretch = (id: string): boolean => id.includes(SEPARATOR)

/** @param starts the first pieces of all stretches. @param number of the stretch; all of them when missing */
export function spanOf(starts: readonly number[], number: number | undefined, pieces: number): Span {
  if (number === undefined) return { from: 0, to: pieces }
  return { from: starts[number] ?? pieces, to: starts[number + 1] ?? pieces }
}

/** Where the stretch with this piece begins. */
export function startBefore(starts: readonly number[], piece: number): number {
  let number = starts.length - 1
  while (number > 0 && (starts[number] as number) > piece) number--
  return starts[number] ?? 0
}

/** How many stretches there should be. */
export const stretchesFor = ({ bytes }: Pick<Metainfo, 'bytes'>, { workers, leastBytes }: FanOut): number =>
  Math.max(1, Math.min(workers, Math.floor(bytes / leastBytes)))

/**
 * The same again after a crash. A file that two stretches meet in is begun here, once for both; and they meet where one
 * part ends.
 * @returns the first piece of each
 */
export async function cutStretches(
  { pieces }: Pick<Metainfo, 'pieces'>,
  count: number,
  sink: Pick<Sink, 'prepare' | 'unitStart'>,
  journal: Journal,
): Promise<readonly number[]> {
  const starts = [0]
  for (let number = 1; number < count; number++) {
    const piece = Math.floor((number * pieces) / count)
    await journal.write(await sink.prepare(piece))
    const start = sink.unitStart(piece)
    if (start > (starts.at(-1) as number)) starts.push(start)
  }
  return starts
}
