/** One request for one piece: into the buffer, hashed as it comes, cut short when it stalls. */
import { equal } from '../../protocol/bytes.ts'
import type { Clock } from '../../protocol/environment.ts'
import { pieceHash } from '../../protocol/metainfo.ts'
import { pieceHasherOf } from '../../protocol/piece.ts'
import { isProblemCode, Problem, type ProblemCode } from '../../protocol/problem.ts'
import type { Cut, Run } from './run.ts'
import type { SellerState } from './sellers.ts'
import type { PieceResponse } from './piece-client.ts'
import { fetchPiece } from './way.ts'

/** Why a piece did not come. `lied`: bytes came, and they are not the piece. `withheld`: a sealed piece came, was paid for, and its key did not. */
export type Failure = Interrupted | Broken | Refused

interface Interrupted {
  readonly kind: 'cut'
  readonly why: Cut
  readonly detail: string
}
interface Broken {
  readonly kind: 'lied' | 'broken' | 'withheld'
  readonly detail: string
}
/** The seller said no, and why. */
export interface Refused {
  readonly kind: 'refused'
  readonly code: ProblemCode
  readonly detail: string
}

export interface TransferOptions {
  readonly piece: number
  /** As long as the piece. */
  readonly into: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

const CUTS: Readonly<Record<Cut, string>> = {
  stalled: 'No byte came for too long.',
  'given-up': 'Another seller was faster.',
  banned: 'The seller lied.',
  pruned: 'The seller is distrusted.',
  stopped: 'The download was stopped.',
}
/** Made once: an abort without a reason makes a new error, with its stack, for every piece. */
const OVER = new Error('The transfer is over.')

/** @returns undefined when the verified piece lies in `into` */
export async function transferPiece(
  run: Run,
  seller: SellerState,
  options: TransferOptions,
): Promise<Failure | undefined> {
  const { piece } = options
  const hasher = pieceHasherOf(run.meta, piece)
  const answer = await transferBody(run, seller, options, (chunk) => hasher.update(chunk))
  if ('kind' in answer) return answer
  if (answer.copied === true) return undefined
  if (equal(hasher.digest(), pieceHash(run.meta, piece))) return undefined
  return { kind: 'lied', detail: `Piece ${piece} does not match its hash.` }
}

/** @returns the answer once its body lies in `into` */
export async function transferBody(
  run: Run,
  seller: SellerState,
  options: TransferOptions,
  onChunk?: (chunk: Uint8Array) => void,
): Promise<PieceResponse | Failure> {
  const answer = await requestPiece(run, seller, options, (chunk) => {
    onChunk?.(chunk)
    seller.meter.add(chunk.length)
    run.meter.add(chunk.length)
  })
  return 'kind' in answer || answer.status === 200 ? answer : refusalIn(answer)
}

/** One request, cut when no byte comes for too long or somebody says so. */
export async function requestPiece(
  run: Run,
  seller: SellerState,
  { piece, into, headers }: TransferOptions,
  onChunk?: (chunk: Uint8Array) => void,
): Promise<PieceResponse | Failure> {
  const line = openLine(run, seller, piece)
  const hear = (chunk: Uint8Array): void => {
    line.heard()
    onChunk?.(chunk)
  }
  try {
    const url = `${seller.url}/v1/pieces/${run.infoHash}/${piece}`
    const passed = await run.peers.credentials(seller.id, seller.offer, url)
    const request = { url, headers: { ...headers, ...passed }, into, signal: line.signal, onChunk: hear }
    return await fetchPiece(run, seller, piece, request)
  } catch (error) {
    const why = line.wasCut()
    if (why) return { kind: 'cut', why, detail: CUTS[why] }
    if (!(error instanceof Problem)) throw error
    return { kind: error.code === 'piece-invalid' ? 'lied' : 'broken', detail: error.message }
  } finally {
    line.close()
  }
}

interface Line {
  readonly signal: AbortSignal
  heard(): void
  wasCut(): Cut | undefined
  close(): void
}

/** Registers the transfer, so that others can cut it, and watches that bytes keep coming. */
function openLine(run: Run, seller: SellerState, piece: number): Line {
  const { clock } = run.context.environment
  const abort = new AbortController()
  const closed = new AbortController()
  let why: Cut | undefined
  let heardMs = clock.now()
  const transfer = {
    seller,
    piece,
    cut(cause: Cut) {
      why ??= cause
      abort.abort()
    },
  }
  run.transfers.add(transfer)
  // The end of a run cuts those that it finds; one that begins later would be nobody's.
  if (run.isOver()) transfer.cut('stopped')
  void watch(clock, run.pace.stallMs, () => heardMs, closed.signal).then(
    (stalled) => stalled && transfer.cut('stalled'),
  )
  return {
    signal: abort.signal,
    heard: () => (heardMs = clock.now()),
    wasCut: () => why,
    close() {
      closed.abort(OVER)
      run.transfers.delete(transfer)
    },
  }
}

/** @returns true when nothing was heard for `stallMs`, false when the line closed first */
async function watch(clock: Clock, stallMs: number, heardMs: () => number, closed: AbortSignal): Promise<boolean> {
  for (;;) {
    // What was heard far ahead was heard before the clock was set back.
    const leftMs = stallMs - Math.abs(clock.now() - heardMs())
    if (leftMs <= 0) return true
    const isOver = await clock.sleep(leftMs, closed).then(
      () => false,
      () => true,
    )
    if (isOver) return false
  }
}

/** What another agent says is a hint: only its code decides, and a code of ours that it has no business with is no code. */
export function refusalIn({ status, problem }: Pick<PieceResponse, 'status' | 'problem'>): Broken | Refused {
  const { code, detail } = typeof problem === 'object' && problem !== null ? (problem as Record<string, unknown>) : {}
  const text = typeof detail === 'string' ? detail : `The seller answered with status ${status}.`
  if (status < 400 || status >= 500 || !isProblemCode(code)) return { kind: 'broken', detail: text }
  return { kind: 'refused', code, detail: text }
}
