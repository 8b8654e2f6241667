/**
 * Faults planted in the shipped source, each a change of one rule: a simulation that finds none of them would find
 * nothing. A plant is a replacement made while the module loads; nothing on disk changes.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

export interface Plant {
  readonly name: string
  /** From the root. */
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** From here on it is found soon. */
  readonly seed: number
}

export const PLANTS: readonly Plant[] = [
  {
    name: 'a redemption is taken whoever signs it',
    file: 'protocol/arbiter/lanes.ts',
    find: '!equal(redemption.key, claimer)',
    replace: 'redemption.key.length === 0',
    seed: 1,
  },
  {
    name: 'a redemption may go back',
    file: 'protocol/arbiter/lanes.ts',
    find: 'if (unit <= lane.redeemed) {',
    replace: 'if (unit < 0) {',
    seed: 1,
  },
  {
    name: 'a redemption may go beyond its lane',
    file: 'protocol/arbiter/lanes.ts',
    find: 'if (unit > lane.cap)',
    replace: 'if (unit > lane.units)',
    seed: 1,
  },
  {
    name: 'a redemption has no end',
    file: 'protocol/arbiter/lanes.ts',
    find: 'if (nowMs >= lane.expires)',
    replace: 'if (nowMs < 0)',
    seed: 1,
  },
  {
    name: 'segments are claimed twice',
    file: 'protocol/arbiter/lanes.ts',
    find: '  await requireFree(view, reserve, commitment)\n',
    replace: '  void requireFree\n',
    seed: 1,
  },
  {
    name: 'a release does not wait for disputes',
    file: 'protocol/arbiter/releases.ts',
    find: 'if (isBound && nowMs < disputableUntil(lane)) {',
    replace: 'if (isBound && nowMs < lane.expires) {',
    seed: 1,
  },
  {
    name: 'a closed lane gives back what was redeemed',
    file: 'protocol/arbiter/items.ts',
    find: 'const [frozen, earned] = [BigInt(cap - redeemed) * unitPrice',
    replace: 'const [frozen, earned] = [BigInt(cap) * unitPrice',
    seed: 1,
  },
  {
    name: 'entries stay on the waiting list',
    file: 'ledger/sequencer.ts',
    find: '    await Promise.all(runs.map(takeOff))\n',
    replace: '    void takeOff\n',
    seed: 1,
  },
  {
    name: 'entries leave the waiting list before they are in the log',
    file: 'ledger/sequencer.ts',
    find: '    const areWritten = await',
    replace:
      "    for (const { key } of batch) await store.write([{ ...key, expect: 'any' }])\n    const areWritten = await",
    seed: 5,
  },
  {
    name: 'a redemption is made without a pointer to it',
    file: 'ledger/accept.ts',
    find: 'const pointed = shard.point(pointer)\n',
    replace: "const pointed = Promise.resolve({ pk: 'pointers/0', sk: '' })\n",
    seed: 1,
  },
  {
    name: 'a round is closed before the last is joined',
    file: 'ledger/shards.ts',
    find: '    if ((joined?.round ?? 0) !== open) return true\n',
    replace: '    void joined\n',
    seed: 1,
  },
  {
    name: 'an entry waits in another shard than its own',
    file: 'ledger/accept.ts',
    find: 'shardOf(decodeEntry(bytes), shards.length)',
    replace: '(shardOf(decodeEntry(bytes), shards.length) + 1) % shards.length',
    seed: 1,
  },
  {
    name: 'a command whose answer was lost is taken again',
    file: 'protocol/arbiter/step.ts',
    find: '  repeated: (view) => read(view, acceptances, keys.accepted(id)),',
    replace: '  repeated: async () => undefined,',
    seed: 3,
  },
  {
    name: 'a tick pays for any piece',
    file: 'agent/sell/tab.ts',
    find: 'if (tick.unit === tab.unit && index === tab.piece)',
    replace: 'if (tick.unit === tab.unit)',
    seed: 10,
  },
  {
    name: 'a piece is sent again without end',
    file: 'agent/sell/tab.ts',
    find: 'if (tab.repeats < limits.repeatsPerTick)',
    replace: 'if (tab.repeats >= 0)',
    seed: 7,
  },
  {
    name: 'credit is not reserved',
    file: 'agent/sell/tab.ts',
    find: 'owed(account) + (changes.get(account) ?? 0) <= most',
    replace: 'owedOn(tab) + (changes.get(account) ?? 0) + 0 * owed(account) <= most',
    seed: 10,
  },
  {
    name: 'a tick is saved after its piece was sent',
    file: 'agent/sell/seller-lanes.ts',
    find: '    if (!(await store.write(changes))) return undefined',
    replace: '    void store.write(changes).catch(() => undefined)',
    seed: 13,
  },
  {
    name: 'a lane is signed off without its last tick',
    file: 'agent/sell/redeem.ts',
    find: '    const [redeemed] = await redeemLane(closing)',
    replace: '    const redeemed = closing',
    seed: 1,
  },
  {
    name: 'a piece is taken unseen',
    file: 'agent/download/transfer.ts',
    find: 'if (equal(hasher.digest(), pieceHash(run.meta, piece))) return undefined',
    replace: 'if (hasher) return undefined',
    seed: 100,
  },
  {
    name: 'a declaration is posted before it is saved',
    file: 'agent/wallet/wallet.ts',
    find: '    await journal.write([declarationEntry(pk, declaration)])\n    declarations.push(declaration)',
    replace: '    declarations.push(declaration)',
    seed: 7,
  },
  {
    name: 'a unit is asked for before that is saved',
    file: 'agent/download/flow.ts',
    find: '    await run.journal.write([...done, ...begun, ...(lane ? [lane.assign(piece)] : [])])',
    replace:
      '    void run.journal.write([...done, ...begun, ...(lane ? [lane.assign(piece)] : [])]).catch(() => undefined)',
    seed: 2,
  },
  {
    name: 'lanes of sellers that are gone are forgotten',
    file: 'agent/wallet/settle.ts',
    find: 'return closed ? redeemed : undefined',
    replace: 'return closed === undefined ? closed : redeemed',
    seed: 10,
  },
  {
    name: 'what a declaration froze is forgotten when the ledger does not answer',
    file: 'agent/wallet/settle.ts',
    find: "refusal === undefined || refusal === 'closed' || (refusal === 'not-found' && isOver)",
    replace: 'refusal !== undefined || isOver || true',
    seed: 66,
  },
  {
    name: 'a vouch is passed on beyond its depth',
    file: 'protocol/trust.ts',
    find: 'residual: Math.min(before.residual - 1, edge.depth)',
    replace: 'residual: before.residual - 1',
    seed: 104,
  },
  {
    name: 'a key leaves before its tick has come',
    file: 'agent/sell/goods.ts',
    find: '...(paid > 0 && { key: toBase64url(unitKeyOf(signer, terms, paid)) })',
    replace: '...(paid >= 0 && { key: toBase64url(unitKeyOf(signer, terms, goods.unit)) })',
    seed: 1,
  },
  {
    name: 'a sealed piece follows one that is not paid',
    file: 'agent/sell/tab.ts',
    find: 'if (owedOn(step.tab) > 0) {',
    replace: 'if (owedOn(step.tab) > terms.cap) {',
    seed: 10,
  },
  {
    name: 'a sealed piece is paid for unseen',
    file: 'agent/download/opener.ts',
    find: 'if (isOfPiece && isPiece && equal(said.cipherRoot, cipherRoot)) return undefined',
    replace: 'if (isOfPiece) return undefined',
    seed: 100,
  },
  {
    name: 'a dispute is won by whoever brings it',
    file: 'protocol/dispute.ts',
    find: 'if (equal(sha256(cryptBlock(unitKey, label.piece, block, cipher)), leaf))',
    replace: 'if (equal(sha256(cryptBlock(unitKey, label.piece, block, cipher)), unitKey))',
    seed: 1,
  },
  {
    name: 'a bond that is lost goes to nobody',
    file: 'protocol/arbiter/disputes.ts',
    find: 'available: frozen + back + bonds',
    replace: 'available: frozen + back',
    seed: 26,
  },
  {
    name: 'a lock is minted and declined',
    file: 'protocol/arbiter/crossings.ts',
    find: "if (before) throw new Problem('closed'",
    replace: "if (before && nowMs < 0) throw new Problem('closed'",
    seed: 8,
  },
  {
    name: 'a lock is refunded twice',
    file: 'protocol/arbiter/crossings.ts',
    find: 'repeated: async (view) => (await read(view, locks, place))?.refund,',
    replace: 'repeated: async () => undefined,',
    seed: 3,
  },
  {
    name: 'a lock takes nothing out',
    file: 'protocol/arbiter/circulation.ts',
    find: 'available: IN[how] ? amount : -amount',
    replace: 'available: IN[how] ? amount : 0n',
    seed: 1,
  },
  {
    name: 'a sequencer overwrites what another has put, and does not take over first',
    file: 'ledger/sequencer.ts',
    find: 'const from = isClear ? head : await swap(head, head)',
    replace: 'const from = isClear || own !== head.version ? head : await swap(head, head)',
    seed: 11,
  },
  {
    name: 'a witness cosigns whatever goes beyond what it knows',
    file: 'ledger/witness/witness.ts',
    find: 'if (!verifyConsistency(oldSize, size, proof, latest.rootHash, rootHash))',
    replace: 'if (!verifyConsistency(oldSize, size, proof, latest.rootHash, rootHash) && size <= oldSize)',
    seed: 2,
  },
]

/** @throws Error for an unknown name */
export function plantNamed(name: string): Plant {
  const plant = PLANTS.find((one) => one.name === name)
  if (!plant) throw new Error(`there is no plant "${name}"; there are: ${PLANTS.map((one) => one.name).join(', ')}`)
  return plant
}

/** The source with the plant in it. @throws Error unless its place is there exactly once */
export function planted({ name, file, find, replace }: Plant, source: string): string {
  const places = source.split(find).length - 1
  if (places !== 1) throw new Error(`the plant "${name}" finds its place in ${file} ${places} times`)
  return source.replace(find, () => replace)
}

export const sourceOf = ({ file }: Pick<Plant, 'file'>): string => readFileSync(urlOf(file), 'utf8')

const urlOf = (file: string): URL => new URL(`../../${file}`, import.meta.url)

/** From now on, its module loads with the fault. Call before it is. */
export function installPlant(plant: Plant): void {
  const { href } = urlOf(plant.file)
  const source = planted(plant, sourceOf(plant))
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      return url === href ? { ...loaded, source } : loaded
    },
  })
}
