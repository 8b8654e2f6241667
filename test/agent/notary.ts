/** The ledger's rules in memory, behind the agent's client interface: what a seller meets, without HTTP and log. */
import { sha256 } from '#primitives'
import type { LedgerClient } from '../../agent/ledger-client.ts'
import { accounts, keys as places, lanes, readKnown, reserves, type Accepted } from '../../protocol/arbiter/items.ts'
import { sums, type Sums } from '../../protocol/arbiter/replica.ts'
import type { Command, CommandKind } from '../../protocol/arbiter/step.ts'
import { draft, keyText, type Key, type Stored } from '../../protocol/arbiter/view.ts'
import { decide, prepare } from '../../protocol/arbiter.ts'
import { equal, fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { parseCommitment } from '../../protocol/commitment.ts'
import type { Clock } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { issueReceipt } from '../../protocol/receipt.ts'
import { parseRedemption, parseRelease } from '../../protocol/settlement.ts'
import { signerFrom, type Envelope } from '../../protocol/signed.ts'

export const FAUCET = 1_000_000n

export interface Notary {
  readonly client: LedgerClient
  readonly id: Bytes
  available(account: Bytes): Promise<bigint>
  sums(): Sums
  /** How often each kind of command was sent. */
  readonly calls: ReadonlyMap<string, number>
  /** `away`: the next commands fail and are not made; `mute`: they are made and the answer is lost. */
  fail(how: 'away' | 'mute' | undefined): void
}

interface Kept extends Stored, Key {}

export async function createNotary(clock: Clock): Promise<Notary> {
  const signer = signerFrom(sha256(utf8('notary')))
  const id = sha256(signer.key)
  const items = new Map<string, Kept>()
  const calls = new Map<string, number>()
  let failure: 'away' | 'mute' | undefined
  let lastMs = 0
  const view = () =>
    draft(
      async (key) => items.get(keyText(key)),
      () => false,
    )

  async function run(command: Command): Promise<Accepted> {
    const draftView = view()
    lastMs = Math.max(clock.now(), lastMs + 1)
    const outcome = await decide(draftView, prepare(command), lastMs)
    if (outcome.kind === 'repeat') return outcome.accepted
    for (const { key, body } of draftView.touched()) {
      if (body) items.set(keyText(key), { ...key, body, timeMs: lastMs })
      else items.delete(keyText(key))
    }
    return outcome.accepted
  }

  async function command(kind: CommandKind, ...parts: Envelope[]): Promise<Accepted & { receipt: Envelope }> {
    calls.set(kind, (calls.get(kind) ?? 0) + 1)
    if (failure === 'away') throw new Problem('peer-failed', 'The ledger is away.')
    const accepted = await run({ kind, parts })
    if (failure === 'mute') throw new Problem('peer-failed', 'The answer is lost.')
    const terms = { entry: accepted.entry, ledger: id, mergeDelay: limits.mergeDelayMs, time: accepted.time }
    return { ...accepted, receipt: issueReceipt(terms, signer) }
  }

  const moved = (
    { moves }: Accepted,
    account: (of: { account: Bytes }) => boolean,
    what: 'available' | 'earned',
  ): bigint => moves.filter(account).reduce((sum, move) => sum + move[what], 0n)

  const declarationOf = async (name: string) => {
    const { envelope, unclaimed, closed } = await readKnown(
      view(),
      reserves,
      places.declaration(fromHex(name)),
      'declaration',
    )
    return { declaration: envelope, unclaimed, closed: closed !== undefined }
  }

  const client = {
    url: 'http://ledger.test',
    info: async () => ({
      id: toHex(id),
      origin: 'ledger.test',
      key: toHex(signer.key),
      vkey: '',
      network: toHex(id.subarray(0, 16)),
      unitPrice: 1n,
      faucet: FAUCET,
      mergeDelayMs: limits.mergeDelayMs,
    }),
    register: async (identity) => ({ id: '', ...(await command('register', identity)) }),
    delegate: (delegation) => command('delegate', delegation),
    declare: async (declaration) => ({ id: '', ...(await command('declare', declaration)) }),
    declaration: declarationOf,
    claim: async (commitment, claim) => {
      const { receipt } = await command('claim', commitment, claim)
      const promise = parseCommitment(commitment)
      const { declaration } = await declarationOf(toHex(promise.declaration))
      return { lane: toHex(promise.id), declaration, receipt }
    },
    lane: async (name) => {
      const { redeemed, cap, closed } = await readKnown(view(), lanes, places.lane(fromHex(name)), 'lane')
      return { redeemed, cap, closed: closed !== undefined }
    },
    redeem: async (redemption) => {
      const { lane, payee, unit } = parseRedemption(redemption)
      const answer = await command('redeem', redemption)
      const amount = moved(answer, ({ account }) => equal(account, payee), 'earned')
      return { lane: toHex(lane), unit, amount, receipt: answer.receipt }
    },
    release: async (release) => {
      const { by } = parseRelease(release)
      const answer = await command('release', release)
      const swept = moved(answer, ({ account }) => equal(account, by), 'available')
      return {
        returned: moved(answer, ({ account }) => !equal(account, by), 'available'),
        swept,
        receipt: answer.receipt,
      }
    },
  } satisfies Partial<LedgerClient>

  const policy = { faucet: FAUCET, key: signer.key, mergeDelay: BigInt(limits.mergeDelayMs), unitPrice: 1n }
  await run({ kind: 'policy', parts: [], data: policy })
  return {
    client: client as unknown as LedgerClient,
    id,
    available: async (account) => (await readKnown(view(), accounts, places.account(account), 'account')).available,
    sums: () => sums([...items.values()] as { pk: string; sk: string; body: Bytes }[]),
    calls,
    fail: (how) => (failure = how),
  }
}
