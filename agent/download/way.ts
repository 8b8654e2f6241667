/**
 * How a piece comes: sent by the seller's agent, by a link to its storage that is good for the piece's range alone, or
 * copied inside the provider. The cheapest way is asked for (`storage/ways.ts`); one that failed is not asked for again.
 */
import { locatePiece } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import { cheapestWay, placeFrom, type OfferedWay } from '../storage/ways.ts'
import type { PieceRequest, PieceResponse } from './piece-client.ts'
import type { Run } from './run.ts'
import type { SellerState } from './sellers.ts'

/** Ways that failed once with a seller: it sends the piece itself then, for the same tick. */
const failed = new WeakMap<SellerState, Set<string>>()

/** @throws Problem `peer-failed` when the way failed, and what the piece client throws */
export async function fetchPiece(
  run: Run,
  seller: SellerState,
  piece: number,
  request: PieceRequest,
): Promise<PieceResponse> {
  const { length } = locatePiece(run.meta, piece)
  // A sealed piece is longer, and made for this buyer: only the seller has it.
  const way = request.into.length === length ? wayFor(run, seller, piece, length) : undefined
  if (!way) return run.pieceClient.get(request)
  const answer = await run.pieceClient.get({ ...request, headers: { ...request.headers, prefer: way.way } })
  if (answer.status !== 307) return answer
  try {
    const location = answer.headers.get('location') ?? ''
    return way.way === 'link'
      ? await followLink(run, piece, request, location, way)
      : await copyPiece(run, seller, piece, location, answer)
  } catch (error) {
    if (error instanceof Problem) failed.set(seller, (failed.get(seller) ?? new Set()).add(way.way))
    throw error
  }
}

function wayFor(run: Run, seller: SellerState, piece: number, length: number): OfferedWay | undefined {
  const { sink } = run
  return cheapestWay(seller.offer?.ways ?? [], sink.site, length, ({ way, provider }) => {
    if (failed.get(seller)?.has(way)) return false
    return way === 'link' || (provider === sink.site?.provider && sink.canCopy(piece))
  })
}

/** The tick stays between buyer and seller: the storage is sent the range, and nothing else. */
async function followLink(
  run: Run,
  piece: number,
  request: PieceRequest,
  location: string,
  { hosts }: OfferedWay,
): Promise<PieceResponse> {
  const url = URL.canParse(location) ? new URL(location) : undefined
  if (!url || !hosts.includes(url.host)) {
    throw new Problem('peer-failed', 'The seller’s link leads to a host that it did not announce.')
  }
  const { offset, length } = locatePiece(run.meta, piece)
  const answer = await run.pieceClient.get({ ...request, url: url.href, headers: {}, range: { offset, length } })
  if (answer.status === 206) return { ...answer, status: 200 }
  throw new Problem('peer-failed', `The seller’s link answered with status ${answer.status}.`)
}

async function copyPiece(
  { sink, meter, meta }: Run,
  seller: SellerState,
  piece: number,
  location: string,
  answer: PieceResponse,
): Promise<PieceResponse> {
  const source = placeFrom(location)
  if (!source) throw new Problem('peer-failed', 'The seller named no place to copy from.')
  if (!(await sink.copy(piece, source))) {
    // Perhaps the torrent's hash of v1 is wrong, or the provider gave none: only v2's can convict the seller.
    throw new Problem('peer-failed', `The copy of piece ${piece} has another checksum, or none.`)
  }
  const { length } = locatePiece(meta, piece)
  seller.meter.add(length)
  meter.add(length)
  return { ...answer, status: 200, copied: true }
}
