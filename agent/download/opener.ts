/**
 * Sealed pieces: held against their label before a tick leaves, opened with the key that it brings. A key that does not
 * come leaves the piece parked; a label that turns out false goes to the ledger.
 */
import { z } from '@hono/zod-openapi'
import { equal, fromBase64url, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseLabel, type Label } from '../../protocol/label.ts'
import { limits } from '../../protocol/limits.ts'
import { pieceHash } from '../../protocol/metainfo.ts'
import { unlessBug } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { isKeyOf, pieceShape, readSealed, sealedBytes, type PieceShape, type Roots } from '../../protocol/sealed.ts'
import { leastBond } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import { decodePaymentResponse, PAYMENT_RESPONSE, type SealedPart } from '../../protocol/x402.ts'
import type { LedgerLane } from '../clients/ledger-client.ts'
import type { Lane } from '../wallet/lane.ts'
import { openGoods, publishedKey } from '../wallet/opening.ts'
import type { Parked } from '../wallet/parked.ts'
import type { Run } from './run.ts'
import type { SellerState } from './sellers.ts'
import { refusalIn, transferBody, type Failure, type TransferOptions } from './transfer.ts'

/** For one flow. */
export interface Opener {
  /** The pending piece of a sealed lane. @param options `into` has room for it as it travels */
  obtain(lane: Lane, options: TransferOptions): Promise<Uint8Array | Failure>
}

/** A piece as it came, and what was said of it. */
interface Delivery {
  readonly lane: Lane
  readonly shape: PieceShape
  readonly body: Uint8Array
  readonly label: Envelope
  /** Of a unit paid before, if the seller sent one. */
  readonly key: Bytes | undefined
}

const KEY_ATTEMPTS = 2
const STOPPED: Failure = { kind: 'cut', why: 'stopped', detail: 'The download was stopped.' }
const PRUNED: Failure = { kind: 'cut', why: 'pruned', detail: 'The seller is distrusted.' }
/** Made once: an abort without a reason makes a new error, with its stack, for every piece. */
const OVER = new Error('The key is there, or will not come.')
const unlessAborted = (): void => undefined
const keyShape = z.object({ key: wire.base64url })

export function createOpener(run: Run, seller: SellerState): Opener {
  const { context } = run
  const { clock } = context.environment
  let claimed: LedgerLane | undefined
  /** A piece came on the lane: its seller has claimed it. */
  let hasCome = false

  /** As the ledger has it: what the seller says of its keys counts for nothing. */
  async function claimOf({ id, cap, price }: Lane): Promise<LedgerLane | Failure> {
    claimed ??= await context.ledger.lane(id).catch(unlessBug)
    if (!claimed) return broken('The ledger does not know the lane, or does not answer.')
    const { payee, sealed } = claimed
    const isGood = sealed && payee === seller.id && sealed.bond >= leastBond({ cap }, price)
    return isGood ? claimed : broken('The lane was claimed without what a sealed one takes.')
  }

  async function obtain(lane: Lane, { piece, into, headers }: TransferOptions): Promise<Uint8Array | Failure> {
    const shape = pieceShape(run.meta, piece)
    const body = into.subarray(0, sealedBytes(shape))
    const reader = readSealed(body, shape)
    const hear = (chunk: Uint8Array): void => reader.arrived(chunk.length)
    // A seller sends one piece so many times: it is not asked again while it is the ledger that does not answer.
    const before = hasCome && (await claimOf(lane))
    if (before && 'kind' in before) return before
    const answer = await transferBody(run, seller, { piece, into: body, headers }, hear)
    if ('kind' in answer) return answer
    hasCome = true
    const claim = await claimOf(lane)
    if ('kind' in claim) return claim
    const delivery = deliveryIn(saidOf(answer.headers), { lane, shape, body })
    if ('kind' in delivery) return delivery
    const failure = faultOf(run, delivery, reader.roots(), claim)
    if (failure) return failure
    if (run.isDistrusted(seller.id)) return PRUNED
    if (lane.ticks < lane.unit) await run.journal.write([lane.pay()])
    const key = await keyFor(delivery, claim)
    return 'kind' in key ? key : open(delivery, key)
  }

  /** @returns a failure once the piece is parked */
  async function keyFor({ lane, shape, body, label, key }: Delivery, claim: LedgerLane): Promise<Bytes | Failure> {
    const anchor = { unit: 0, key: fromHex(claim.sealed?.anchor ?? '') }
    const isRight = (one: Bytes): boolean => isKeyOf(anchor, lane.unit, one)
    if (key && isRight(key)) return key
    const over = new AbortController()
    const answers = [askKey(lane, over.signal), stopped(over.signal), late(over.signal)]
    const asked = await Promise.race(answers).finally(() => over.abort(OVER))
    if (!('kind' in asked) && isRight(asked)) return asked
    const published = await publishedKey(context, lane.id, lane.unit)
    if (published && isRight(published)) return published
    await run.purse.parking.park({ lane: lane.id, unit: lane.unit, shape, label: envelopeToJson(label) }, body)
    return 'kind' in asked ? asked : { kind: 'withheld', detail: 'The key is not that of the unit.' }
  }

  /** What is paid for is still read after a stop, where the seller does not take its time. */
  function stopped(over: AbortSignal): Promise<Failure> {
    const { promise, resolve } = Promise.withResolvers<Failure>()
    const onStop = (): void => void clock.sleep(run.pace.patienceMs, over).then(() => resolve(STOPPED), unlessAborted)
    if (run.signal.aborted) onStop()
    else run.signal.addEventListener('abort', onStop, { once: true, signal: over })
    return promise
  }

  const late = (over: AbortSignal): Promise<Failure> =>
    clock.sleep(limits.callTimeoutMs, over).then(
      () => broken('The key of a sealed piece did not come in time.'),
      () => STOPPED,
    )

  async function askKey(lane: Lane, over: AbortSignal): Promise<Bytes | Failure> {
    for (let attempt = 1; ; attempt++) {
      const answer = await sayTick(lane, over)
      if (!('kind' in answer) || answer.kind !== 'broken' || attempt === KEY_ATTEMPTS) return answer
      await clock.sleep(limits.callPauseMs, over)
    }
  }

  async function sayTick(lane: Lane, signal: AbortSignal): Promise<Bytes | Failure> {
    const message = { url: `${seller.url}/v1/ticks`, json: { tick: lane.lastTick() }, signal }
    const answer = await run.pieceClient.post(message).catch(unlessBug)
    if (!answer) return broken('The key of a sealed piece did not come: the seller could not be reached.')
    const { success, data } = keyShape.safeParse(answer.document)
    if (answer.status === 200 && success) return fromBase64url(data.key)
    const { kind, detail } = refusalIn({ status: answer.status, problem: answer.document })
    return {
      kind: kind === 'refused' ? 'withheld' : 'broken',
      detail: `The key of a sealed piece did not come: ${detail}`,
    }
  }

  async function open({ lane, shape, body, label }: Delivery, key: Bytes): Promise<Uint8Array | Failure> {
    const opened = openGoods(context, { shape, label, body }, key)
    if (opened.kind === 'piece') return opened.bytes
    await run.purse.accuse({ lane: lane.id, label, dispute: opened.dispute })
    return { kind: 'lied', detail: `Piece ${shape.piece} was sealed under a false label: it is disputed.` }
  }

  return { obtain }
}

const broken = (detail: string): Failure => ({ kind: 'broken', detail })

function saidOf(headers: Headers): SealedPart | undefined {
  try {
    return decodePaymentResponse(headers.get(PAYMENT_RESPONSE) ?? '').extensions?.sealed
  } catch (error) {
    return unlessBug(error)
  }
}

function deliveryIn(
  said: SealedPart | undefined,
  goods: Pick<Delivery, 'lane' | 'shape' | 'body'>,
): Delivery | Failure {
  if (!said) return broken('A sealed piece came without its label.')
  try {
    const key = said.key === undefined ? undefined : fromBase64url(said.key)
    return { ...goods, label: envelopeFromJson(said.label), key }
  } catch (error) {
    return unlessBug(error) ?? broken('The label of a sealed piece is malformed.')
  }
}

/** What speaks against paying for it; nothing is lost yet. */
function faultOf(
  { meta }: Run,
  { lane, shape, label }: Delivery,
  { plainRoot, cipherRoot }: Roots,
  claim: LedgerLane,
): Failure | undefined {
  const said = readLabel(label)
  if (!said || toHex(said.key) !== claim.claimer) return broken('The label is not signed by who claimed the lane.')
  if (toHex(said.lane) !== lane.id || said.unit !== lane.unit) return broken('The label is of another unit.')
  const isOfPiece = said.piece === shape.piece && said.length === shape.length && said.levels === shape.levels
  const isPiece = equal(plainRoot, pieceHash(meta, shape.piece)) && equal(said.plainRoot, plainRoot)
  if (isOfPiece && isPiece && equal(said.cipherRoot, cipherRoot)) return undefined
  return { kind: 'lied', detail: `What came for piece ${shape.piece} does not match its hash.` }
}

function readLabel(label: Envelope): Label | undefined {
  try {
    return parseLabel(label)
  } catch (error) {
    return unlessBug(error)
  }
}

/** Parked pieces whose keys the ledger shows by now: what is still missing is read, a false label is disputed in any case. */
export async function openParked(run: Run): Promise<void> {
  for (const parked of await run.purse.parking.list()) {
    const { piece } = parked.shape
    const lane = run.purse.lanes.find(({ id }) => id === parked.lane)
    const isMissing = run.picker.isOpen(piece) && (run.sink.mayFetch?.(piece) ?? true)
    const isTheirs = lane?.pending === piece && lane.unit === parked.unit
    if (!lane || !isTheirs || !(isMissing || run.progress.isDone(piece))) continue
    const key = await publishedKey(run.context, parked.lane, parked.unit)
    const isTaken = key !== undefined && run.picker.take(piece)
    if (!key || !(isTaken || run.progress.isDone(piece))) continue
    await readParked(run, lane, parked, key).catch((error: unknown) => {
      if (isTaken) run.picker.giveBack(piece)
      throw error
    })
  }
}

async function readParked(run: Run, lane: Lane, parked: Parked, key: Bytes): Promise<void> {
  const { parking } = run.purse
  const { piece } = parked.shape
  const seller = run.sellers.get(lane.payee)
  const label = envelopeFromJson(parked.label)
  const opened = openGoods(run.context, { shape: parked.shape, label, body: await parking.body(lane.id) }, key)
  if (opened.kind === 'false') {
    run.picker.giveBack(piece)
    await run.purse.accuse({ lane: lane.id, label, dispute: opened.dispute })
    run.sellers.leave(seller, 'lied', `Piece ${piece} was sealed under a false label: it is disputed.`)
    await run.journal.write([run.sellers.entry(seller), lane.leave()])
  } else {
    if (!run.progress.isDone(piece)) {
      await run.journal.write(await run.sink.prepare(piece))
      await run.sink.put(piece, opened.bytes)
      run.picker.done(piece)
    }
    seller.lost--
    await run.journal.write([run.progress.mark(piece), lane.verified()])
  }
  await parking.forget(lane.id)
}
