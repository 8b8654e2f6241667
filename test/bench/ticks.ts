/** The redemption of a tick far along: a chain in segments under a Merkle root beside one plain chain, which is hashed to its anchor. */
import { sha256, sha256Repeated } from '#primitives'
import { decide, prepare } from '../../protocol/arbiter.ts'
import { keys, lanes, type Lane } from '../../protocol/arbiter/items.ts'
import { draft } from '../../protocol/arbiter/view.ts'
import { equal, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { parseRedemption } from '../../protocol/settlement.ts'
import { START_MS } from '../ledger/kit.ts'
import { person, purchase } from '../ledger/people.ts'
import { median, type Bench } from './figure.ts'

const UNITS = limits.unitsPerDeclaration
const REDEMPTIONS = 2000

export const ticks: Bench = async ({ runs, ...options }) => {
  const [payer, payee] = [person('payer'), person('payee')]
  const segments = UNITS / limits.segmentUnitsMax
  const download = purchase(payer, { units: UNITS, segment: limits.segmentUnitsMax, unitPrice: 1n })
  const lane = download.lane(payee, { segments, cap: UNITS })
  const redemption = lane.redeem(UNITS)
  const item: Lane = {
    cap: UNITS,
    claimer: payee.signer.key,
    commitment: { ...lane.commitment },
    declaration: download.id,
    disputeWindow: download.terms.disputeWindow,
    expires: download.terms.expires,
    first: 0,
    mode: 'credit',
    payee: payee.id,
    payer: payer.id,
    redeemed: 0,
    segment: download.terms.segment,
    tickRoot: download.chain.root,
    unitPrice: 1n,
    units: UNITS,
  }
  const body = lanes.encode(item)
  const { pk } = keys.lane(lane.id)
  const redeem = async () => {
    const view = draft(
      async (key) => (key.pk === pk ? { timeMs: 0, body } : undefined),
      () => false,
    )
    await decide(view, prepare({ kind: 'redeem', parts: [redemption] }), START_MS)
  }

  const last = sha256(utf8('plain'))
  const anchor = sha256Repeated(last, UNITS)
  const redeemPlain = async () => {
    parseRedemption(redemption)
    if (!equal(sha256Repeated(last, UNITS), anchor)) throw new Error('the chain is another')
  }

  const [ours, plain]: [number[], number[]] = [[], []]
  for (let run = 0; run < runs; run++) {
    ours.push(await millisecondsOf(redeem, REDEMPTIONS))
    plain.push(await millisecondsOf(redeemPlain, 1))
    options.say(`${ours.at(-1)?.toFixed(3)} ms, plain ${plain.at(-1)?.toFixed(0)} ms`)
  }
  const ratio = median(plain.map((time, i) => time / (ours[i] as number)))
  return [
    {
      name: 'ticks/redemption',
      unit: `ms for tick ${UNITS}, ratio of a plain chain to it`,
      value: median(ours),
      ratio,
      runs,
    },
    { name: 'ticks/plain-chain', unit: `ms for tick ${UNITS}`, value: median(plain), runs },
  ]
}

/** Each, after one that does not count. */
async function millisecondsOf(work: () => Promise<void>, times: number): Promise<number> {
  await work()
  const startedMs = performance.now()
  for (let i = 0; i < times; i++) await work()
  return (performance.now() - startedMs) / times
}
