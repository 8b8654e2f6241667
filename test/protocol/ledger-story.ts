/** A ledger from its first entry on, one entry of each kind at least: what `vectors/ledger.json` holds. */
import { sha256 } from '#primitives'
import { decide, prepare } from '../../protocol/arbiter.ts'
import { attestations, isFixed, policies, type Policy } from '../../protocol/arbiter/items.ts'
import { createReplica } from '../../protocol/arbiter/replica.ts'
import type { StateItem } from '../../protocol/arbiter/state-root.ts'
import type { Command } from '../../protocol/arbiter/step.ts'
import { draft, keyText, type Stored } from '../../protocol/arbiter/view.ts'
import { toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { formatCheckpoint, formatVerifierKey, noteKey, signNote } from '../../protocol/checkpoint.ts'
import { lock, mint, refund, type CarriedTerms } from '../../protocol/crossing.ts'
import { decode } from '../../protocol/encoding.ts'
import { encodeEntry, entryHash } from '../../protocol/entry.ts'
import { certify, setPrice, trustPeer } from '../../protocol/federation.ts'
import { applyOperation, rotate } from '../../protocol/identity.ts'
import { buy, sell } from '../../protocol/issuance.ts'
import { rootOf } from '../../protocol/merkle.ts'
import type { ProblemCode } from '../../protocol/problem.ts'
import { signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { DAY_MS, LEDGER_ID, ORIGIN, SECRET, START_MS } from '../ledger/kit.ts'
import { delegation, gift, person, purchase, type Lane } from '../ledger/people.ts'
import { sealGoods } from '../ledger/sealed-goods.ts'

const SECOND_MS = 1000
const signerOf = (name: string): Signer => signerFrom(sha256(utf8(name)))
const [alice, bob] = [person('alice'), person('bob')]
const council = ['one', 'two', 'three'].map(signerOf)
const [authority, issuer, other] = [signerOf('authority'), signerOf('issuer'), signerOf('other ledger')]
const otherId = sha256(other.key)
const OTHER_ORIGIN = 'other.example/ledger'

const policy: Policy = {
  faucet: 1_000_000n,
  federation: { authority: authority.key, keys: council.map(({ key }) => key) },
  issuer: issuer.key,
  key: signerFrom(SECRET).key,
  mergeDelay: 10_000,
  unitPrice: 1n,
}

/** By two of the three who decide. */
const byMajority = (sign: (signer: Signer) => Envelope): Envelope[] => council.slice(0, 2).map(sign)

/** An entry that is alone in the other ledger's log, and its proof. */
function fromTheOther(kind: string, parts: readonly Envelope[], time: number): CarriedTerms {
  const entry = encodeEntry({ kind, parts, time, data: { moves: [] } })
  const text = formatCheckpoint({ origin: OTHER_ORIGIN, size: 1, rootHash: rootOf([entryHash(entry)]) })
  return { checkpoint: signNote(text, { name: OTHER_ORIGIN, signer: other }), entry, index: 0, proof: [] }
}

const membership = (member: Bytes): Envelope =>
  certify({ expires: START_MS + 90_000, issued: START_MS, member }, authority)

/** What comes to the ledger: with `code`, it is refused so. */
type Sent = Command & { readonly code?: ProblemCode }
/** A command, an attestation, or how many milliseconds pass. */
type Event = Sent | 'state' | number

function commands(): readonly Event[] {
  const order = { account: alice.id, ledger: LEDGER_ID }
  const download = purchase(alice, { segment: 4, unitPrice: 3n, units: 20 }, alice.agent)
  const lane = download.lane(bob, { cap: 8, segments: 2 })
  const overlapping = download.lane(bob, { first: 1 })
  const hour = 3_600_000
  const terms = { nonce: sha256(utf8('lock')).slice(0, 16), expires: START_MS + hour }
  const out = { ...terms, amount: 40n, from: alice.id, ledger: LEDGER_ID, recipient: bob.id, target: otherId }
  const [arriving, late] = [out, { ...out, expires: START_MS + 30_500 }].map((each) =>
    lock({ ...each, amount: 25n, ledger: otherId, target: LEDGER_ID }, alice.signer),
  ) as [Envelope, Envelope]
  const sent = lock(out, alice.signer)
  const selling = { ...order, amount: 30n, expires: START_MS + hour, reference: 'payout 1' }
  const bobsIdentity = applyOperation(undefined, bob.identity, START_MS)
  const peer = { ledger: LEDGER_ID, limit: 500n, seq: 1 }
  const log = `log ${formatVerifierKey(noteKey(OTHER_ORIGIN, other.key))}\nquorum none\n`
  return [
    { kind: 'policy', parts: [], data: decode(policies.encode(policy)) },
    { kind: 'register', parts: [alice.identity, membership(alice.id)] },
    { kind: 'register', parts: [bob.identity, membership(bob.id)] },
    { kind: 'delegate', parts: [delegation(alice, { payees: [bob.id] })] },
    { kind: 'declare', parts: [download.declaration] },
    { kind: 'claim', parts: [lane.commitment, lane.claim] },
    { kind: 'claim', parts: [overlapping.commitment, overlapping.claim], code: 'lane-taken' },
    { kind: 'redeem', parts: [lane.redeem(3)] },
    { kind: 'redeem', parts: [lane.redeem(2)], code: 'tick-replayed' },
    { kind: 'redeem', parts: [lane.redeem(9)], code: 'tick-invalid' },
    { kind: 'release', parts: [lane.release(alice)], code: 'not-expired' },
    'state',
    { kind: 'redeem', parts: [lane.redeem(5)] },
    { kind: 'release', parts: [lane.release(bob)] },
    { kind: 'redeem', parts: [lane.redeem(8)], code: 'closed' },
    { kind: 'release', parts: [download.release(alice, alice.agent)] },
    { kind: 'transfer', parts: [gift(bob, alice, 4n)] },
    { kind: 'transfer', parts: [gift(alice, bob, 4n, alice.agent)], code: 'delegation-exceeded' },
    {
      kind: 'price',
      parts: byMajority((by) => setPrice({ effective: START_MS + hour, ledger: LEDGER_ID, seq: 1, unitPrice: 7n }, by)),
    },
    { kind: 'buy', parts: [buy({ ...order, amount: 100n, reference: 'payment 1' }, issuer)] },
    { kind: 'sell', parts: [sell(selling, alice.signer), sell(selling, issuer)] },
    { kind: 'peer', parts: byMajority((by) => trustPeer({ ...peer, policy: log }, by)) },
    { kind: 'mint', parts: [mint(fromTheOther('lock', [arriving], START_MS), bob.signer)] },
    { kind: 'lock', parts: [sent] },
    'state',
    { kind: 'refund', parts: [refund(fromTheOther('decline', [sent], START_MS + hour), bob.signer)] },
    { kind: 'decline', parts: [late], code: 'not-expired' },
    30 * SECOND_MS,
    { kind: 'decline', parts: [late] },
    ...sealedCommands(),
    { kind: 'rotate', parts: [rotate(bobsIdentity, [signerOf('bob’s new key').key], START_MS, bob.signer)] },
    'state',
  ]
}

/**
 * Two sealed lanes, of agents on both sides: of one the bond is lost by a false label, the other ends by what the payer
 * signs off. Both end on the day after.
 */
function sealedCommands(): readonly Event[] {
  const nonce = sha256(utf8('sealed')).slice(0, 16)
  const download = purchase(alice, { nonce, segment: 4, units: 8 }, alice.agent)
  const [disputed, honest] = [0, 1].map((first) => download.lane(bob, { first, mode: 'sealed', segments: 1 })) as [
    Lane,
    Lane,
  ]
  const [goods, good] = [sealGoods(disputed, 2, bob.agent, lastBit), sealGoods(honest, 2, bob.agent)]
  return [
    { kind: 'delegate', parts: [delegation(bob)] },
    { kind: 'declare', parts: [download.declaration] },
    { kind: 'claim', parts: [disputed.commitment, disputed.claimBy(bob, bob.agent)] },
    { kind: 'claim', parts: [honest.commitment, honest.claimBy(bob, bob.agent)] },
    { kind: 'redeem', parts: [disputed.redeem(2)] },
    { kind: 'redeem', parts: [honest.redeem(3, { unitKey: honest.unitKey(2) })], code: 'key-invalid' },
    { kind: 'redeem', parts: [honest.redeem(3)] },
    'state',
    { kind: 'release', parts: [honest.release(bob)], code: 'not-expired' },
    { kind: 'release', parts: [honest.release(bob), honest.consent(alice, 2)], code: 'not-expired' },
    { kind: 'release', parts: [honest.release(alice), honest.consent(alice, 3)], code: 'not-expired' },
    { kind: 'dispute', parts: [good.label, good.accuse(alice, { leaf: new Uint8Array(32) })], code: 'no-fault' },
    DAY_MS - 50 * SECOND_MS,
    { kind: 'dispute', parts: [goods.label, goods.accuse(alice, {}, alice.agent)] },
    { kind: 'release', parts: [honest.release(bob, bob.agent), honest.consent(alice, 3)] },
    { kind: 'release', parts: [download.release()] },
    'state',
  ]
}

/** In the short block at the end, which makes short evidence. */
const lastBit = (piece: Uint8Array): void => void (piece[piece.length - 1] = (piece.at(-1) as number) ^ 1)

interface Kept extends Stored, StateItem {}

/** What the vector holds. */
export async function ledgerVector(): Promise<object> {
  const items = new Map<string, Kept>()
  const replica = createReplica()
  const entries: object[] = []
  const refused: object[] = []
  const leaves: Bytes[] = []
  let time = START_MS
  for (const next of commands()) {
    if (typeof next === 'number') {
      time += next
      continue
    }
    const command: Sent = next === 'state' ? await attestation() : next
    if (command.code) {
      refused.push(toldRefused(command))
      continue
    }
    const bytes = await accept(command)
    leaves.push(entryHash(bytes))
    entries.push(await told(command, bytes))
    time += SECOND_MS
  }
  const checkpoint = formatCheckpoint({ origin: ORIGIN, size: leaves.length, rootHash: rootOf(leaves) })
  const state = replica.items().toSorted((a, b) => (keyText(a) < keyText(b) ? -1 : 1))
  return {
    about: ABOUT,
    origin: ORIGIN,
    vkey: formatVerifierKey(noteKey(ORIGIN, policy.key)),
    checkpoint: signNote(checkpoint, { name: ORIGIN, signer: signerFrom(SECRET) }),
    entries,
    refused,
    items: state.map(({ pk, sk, body }) => ({ pk, sk, body: toHex(body) })),
  }

  async function attestation(): Promise<Command> {
    const data = decode(attestations.encode(await replica.attestationAt(replica.size())))
    return { kind: 'state', parts: [], data }
  }

  function toldRefused({ kind, parts, code }: Sent): object {
    const objects = parts.map(({ body, key, signature }) => ({ b: toHex(body), k: toHex(key), s: toHex(signature) }))
    return { after: entries.length, time, kind, parts: objects, code }
  }

  async function accept(command: Command): Promise<Bytes> {
    const view = draft(async (key) => items.get(keyText(key)), isFixed)
    const outcome = await decide(view, prepare(command), time)
    if (outcome.kind === 'repeat') throw new Error(`${command.kind} repeats an earlier one`)
    for (const { key, body } of view.touched()) {
      if (body) items.set(keyText(key), { ...key, body, timeMs: time })
      else items.delete(keyText(key))
    }
    return outcome.bytes
  }

  async function told({ kind }: Command, bytes: Bytes): Promise<object> {
    await replica.apply(bytes)
    const { root, size: _, ...sums } = await replica.attestationAt(replica.size())
    const after = Object.fromEntries(Object.entries({ bonds: 0n, ...sums }).map(([name, sum]) => [name, `${sum}`]))
    return {
      kind,
      entry: toHex(bytes),
      leafHash: toHex(entryHash(bytes)),
      after: { stateRoot: toHex(root), ...after },
    }
  }
}

const ABOUT =
  'A whole ledger: the entries of its log in order, what the rules lead to after each of them, the state items at the end, and the signed checkpoint; and what the rules refuse: `code` is the problem when a command of this kind with these signed objects comes at `time`, `after` so many entries. entry: the bytes of the leaf in hex (canonical bencode). stateRoot: ledger-rules.md, "State root". Credits are decimal strings.'
