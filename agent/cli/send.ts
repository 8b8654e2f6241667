/**
 * Credits from owner to owner, at one ledger or from one to another. What goes to another ledger is kept in the home
 * until it has arrived or come back, so that the command given again goes on with it.
 */
import { join } from 'node:path'
import { rm } from 'node:fs/promises'
import { fromHex, fromUtf8, toHex } from '../../protocol/bytes.ts'
import { lock, mint, parseLock, refund, type CarriedTerms, type Lock } from '../../protocol/crossing.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { transfer } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type Signer } from '../../protocol/signed.ts'
import { proveEntry } from '../clients/carry.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'
import { saveFile } from '../save-file.ts'
import { readOptional } from '../secret-file.ts'
import { UsageError, type Answer, type Call } from './command.ts'
import { idOf } from './words.ts'

const NONCE_BYTES = 16
const CREDITS = /^[1-9][0-9]{0,17}$/
/** For how long the other ledger may take it up. */
const LOCK_MS = 60 * 60 * 1000
const POLL_MS = 500

export async function send(call: Call): Promise<Answer> {
  const [to, credits] = [idOf(call), call.args[1] as string]
  if (!CREDITS.test(credits)) throw new UsageError(`'${credits}' is not a whole number of credits.`)
  const url = call.text('to-ledger')
  return url === undefined
    ? give(call, to, BigInt(credits))
    : sendAcross(call, to, BigInt(credits), await call.ledger(url))
}

async function give(call: Call, to: string, amount: bigint): Promise<Answer> {
  const [ledger, owner, signer] = [await call.ledger(), await call.owner(), await call.signer()]
  const terms = { amount, from: owner.id, nonce: call.environment.random.bytes(NONCE_BYTES), to: fromHex(to) }
  await ledger.transfer(transfer({ ...terms, ledger: fromHex((await ledger.info()).id) }, signer))
  return { json: { to, amount: String(amount), state: 'done' }, text: `${amount} given to ${to}.` }
}

async function sendAcross(call: Call, to: string, amount: bigint, target: LedgerClient): Promise<Answer> {
  const [ledger, signer] = [await call.ledger(), await call.signer()]
  const place = join(call.homeDir, 'sending.json')
  const kept = await readKept(place)
  const order = kept ?? (await makeLock(call, { to, amount, ledger, signer, target }))
  const terms = parseLock(order)
  if (toHex(terms.recipient) !== to || terms.amount !== amount || toHex(terms.target) !== (await target.info()).id)
    throw new Problem(
      'conflict',
      `${terms.amount} credits are on their way to ${toHex(terms.recipient)}: send those first.`,
    )
  if (!kept) await saveFile(place, JSON.stringify(envelopeToJson(order)), 0o600)
  const receipt = await lockHere(ledger, order, place)
  const state = await carry(call, { ledger, order, receipt, signer, target, terms })
  await rm(place, { force: true })
  const text =
    state === 'done'
      ? `${amount} given to ${to} at ${target.url}.`
      : `${amount} came back: ${target.url} did not take them.`
  return { json: { to, amount: String(amount), state }, text }
}

/** @returns the receipt; what is refused is not under way */
async function lockHere(ledger: LedgerClient, order: Envelope, place: string): Promise<Envelope> {
  try {
    return (await ledger.lock(order)).receipt
  } catch (error) {
    if (error instanceof Problem && error.status < 500 && error.code !== 'conflict') await rm(place, { force: true })
    throw error
  }
}

interface Sending {
  readonly ledger: LedgerClient
  readonly target: LedgerClient
  readonly signer: Signer
}

async function makeLock(
  call: Call,
  { to, amount, ledger, signer, target }: Sending & { readonly to: string; readonly amount: bigint },
): Promise<Envelope> {
  const owner = await call.owner()
  return lock(
    {
      amount,
      expires: call.environment.clock.now() + LOCK_MS,
      from: owner.id,
      ledger: fromHex((await ledger.info()).id),
      nonce: call.environment.random.bytes(NONCE_BYTES),
      recipient: fromHex(to),
      target: fromHex((await target.info()).id),
    },
    signer,
  )
}

interface Locked extends Sending {
  readonly order: Envelope
  /** For the lock. */
  readonly receipt: Envelope
  readonly terms: Lock
}

/** Every step may be repeated. */
async function carry(
  call: Call,
  { ledger, order, receipt, signer, target, terms }: Locked,
): Promise<'done' | 'returned'> {
  const proof = await proven(call, ledger, receipt)
  try {
    await target.mint(mint(proof, signer))
    return 'done'
  } catch (error) {
    // Before it expires, what is refused now may be taken up later.
    if (!(error instanceof Problem) || call.environment.clock.now() < terms.expires) throw error
  }
  const declined = await target.decline(order)
  await ledger.refund(refund(await proven(call, target, declined.receipt), signer))
  return 'returned'
}

/** An entry is in a checkpoint within the merge delay. */
async function proven(call: Call, ledger: LedgerClient, receipt: Envelope): Promise<CarriedTerms> {
  const { clock } = call.environment
  for (const untilMs = clock.now() + 2 * limits.mergeDelayMs; ;) {
    const proof = await proveEntry(ledger, receipt).catch((error: unknown) => {
      const isEarly = error instanceof Problem && error.code === 'not-found'
      if (!isEarly || clock.now() >= untilMs) throw error
    })
    if (proof) return proof
    await clock.sleep(POLL_MS, call.signal)
  }
}

async function readKept(place: string): Promise<Envelope | undefined> {
  const saved = await readOptional(place)
  if (!saved) return undefined
  try {
    return envelopeFromJson(JSON.parse(fromUtf8(saved)), 'lock')
  } catch {
    throw new Problem(
      'bad-encoding',
      `${place} cannot be read, and says which credits are on their way to another ledger: repair it, or remove it.`,
    )
  }
}
