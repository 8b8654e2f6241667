/** Two ledgers that trust each other, and what goes between them. */
import { expect } from 'vitest'
import { sha256 } from '#primitives'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { lock, type LockTerms } from '../../protocol/crossing.ts'
import { trustPeer } from '../../protocol/federation.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeToJson, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'
import {
  DAY_MS,
  expectAccepted,
  openLedger,
  testClock,
  testEnvironment,
  type TestClock,
  type TestLedger,
} from './kit.ts'
import { person } from './people.ts'

export const LIMIT = 500n
export const HOUR_MS = DAY_MS / 24
export const [alice, bob] = [person('alice'), person('bob')]
export const carrier = signerFrom(sha256(utf8('carrier')))

/** A ledger with its own key and name, and the typed client on it. */
export interface Side {
  readonly ledger: TestLedger
  readonly client: LedgerClient
  readonly signer: Signer
  readonly id: Bytes
  readonly vkey: string
}

/** No call takes too long here. */
export const endless = (_: number, signal?: AbortSignal): Promise<void> =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)))

export function side(name: string, clock: TestClock, policy = {}): Side {
  const secret = sha256(utf8(name))
  const signer = signerFrom(secret)
  const origin = `${name}.example/log`
  const ledger = openLedger({ clock, secret, origin, policy })
  const transport = async (request: Request) => ledger.app.fetch(request)
  const client = createLedgerClient({
    environment: { ...testEnvironment({ ...clock, sleep: endless }), transport },
    url: `http://${name}.example`,
  })
  return { ledger, client, signer, id: sha256(signer.key), vkey: formatVerifierKey(noteKey(origin, signer.key)) }
}

export async function trust(
  at: Side,
  peer: Side,
  { quorum = 'quorum none', seq = 1, max = LIMIT } = {},
): Promise<void> {
  const terms = { ledger: at.id, limit: max, policy: `log ${peer.vkey}\n${quorum}\n`, seq }
  await expectAccepted(at.ledger.postJson('/v1/peers', { peer: [envelopeToJson(trustPeer(terms, at.signer))] }))
}

/** Both know Alice and Bob. */
export async function befriend(here: Side, there: Side): Promise<void> {
  for (const { client } of [here, there]) for (const { identity } of [alice, bob]) await client.register(identity)
  await trust(here, there)
  await trust(there, here)
}

export interface Pair {
  readonly clock: TestClock
  readonly here: Side
  readonly there: Side
}

/** Two that are peers. @param policy of the second's own */
export async function meet(name: string, policy?: Parameters<typeof side>[2]): Promise<Pair> {
  const clock = testClock()
  const [here, there] = [side('here', clock), side(name, clock, policy)]
  await befriend(here, there)
  return { clock, here, there }
}

let nonces = 0
/** From Alice here to Bob there, unless told. */
export const lockTermsOf = ({ clock, here, there }: Pair, terms: Partial<LockTerms> = {}): LockTerms => ({
  amount: 100n,
  expires: clock.now() + HOUR_MS,
  from: alice.id,
  ledger: here.id,
  nonce: sha256(utf8(`nonce ${nonces++}`)).slice(0, 16),
  recipient: bob.id,
  target: there.id,
  ...terms,
})

export interface Locked {
  readonly order: Envelope
  readonly id: string
  readonly receipt: Envelope
}

/** Locks here, and has it in a checkpoint. */
export async function lockAt(pair: Pair, terms: Partial<LockTerms> = {}): Promise<Locked> {
  const order = lock(lockTermsOf(pair, terms), alice.signer)
  const answer = await pair.here.client.lock(order)
  await pair.here.ledger.sequence()
  return { order, ...answer }
}

export const available = async ({ client }: Side, { hex } = alice): Promise<bigint> =>
  (await client.account(hex)).available
export const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'accepted',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  )

/** Everybody's credits at a ledger, by its own log. */
export async function total({ ledger }: Side): Promise<bigint> {
  await ledger.attest()
  const replica = await auditStore(ledger.store)
  const { available: free, earned, frozen, issued } = await replica.attestationAt(replica.size())
  expect(free + earned + frozen).toBe(issued)
  expect(ledger.faults).toEqual([])
  return issued
}
