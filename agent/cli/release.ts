/**
 * What a lost agent left frozen, released by its owner once no agent has a use for it and the ledger takes it. The same
 * release is the same object whoever signs it, so the command may be given again, and while an agent runs.
 */
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import { release as sealRelease, type ReleaseTerms } from '../../protocol/settlement.ts'
import type { Signer } from '../../protocol/signed.ts'
import type { LedgerAccount, LedgerClient } from '../clients/ledger-client.ts'
import type { Answer, Call } from './command.ts'
import { findHolds, type Hold, type HoldKind } from './holds.ts'
import { table } from './table.ts'
import { timeText } from './time-text.ts'

interface Outcome {
  readonly released: readonly Hold[]
  readonly held: readonly Hold[]
}

export async function release(call: Call): Promise<Answer> {
  const [owner, signer, ledger] = [await call.owner(), await call.signer(), await call.ledger(call.text('ledger'))]
  const id = toHex(owner.id)
  const holds = await findHolds(ledger, await ledger.account(id), (done, of) =>
    call.progress(`looked at ${done} of ${of} claims`),
  )
  const { clock } = call.environment
  const isDue = ({ dueMs, kind }: Hold): boolean => clock.now() >= dueMs || (kind === 'unclaimed' && call.flag('now'))
  const held = holds.filter((hold) => !isDue(hold))
  const released: Hold[] = []
  for (const [i, hold] of holds.filter(isDue).entries()) {
    call.progress(`released ${i}`)
    const outcome = await end(ledger, hold, { by: owner.id, signer })
    if (outcome) (outcome.isHeld ? held : released).push(outcome.hold)
  }
  call.progress('')
  return answer({ released, held }, await ledger.account(id))
}

/** @returns undefined when somebody else has released it in the meantime */
async function end(
  ledger: LedgerClient,
  hold: Hold,
  { by, signer }: Pick<ReleaseTerms, 'by'> & { readonly signer: Signer },
): Promise<{ readonly hold: Hold; readonly isHeld: boolean } | undefined> {
  const lane = hold.lane !== undefined && { lane: fromHex(hold.lane) }
  try {
    const order = sealRelease({ by, declaration: fromHex(hold.declaration), ...lane }, signer)
    const { returned, swept } = await ledger.release(order)
    return { hold: { ...hold, credits: hold.kind === 'earned' ? swept + hold.bond : returned }, isHeld: false }
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const { dueMs } = error.members
    if (error.code === 'not-expired' && typeof dueMs === 'number') return { hold: { ...hold, dueMs }, isHeld: true }
    if (error.code === 'closed') return undefined
    throw error
  }
}

const WHY: Readonly<Record<HoldKind, string>> = {
  unclaimed: 'your agent may use it',
  spent: 'its seller may redeem it, or you dispute',
  earned: 'its buyer may pay more, or dispute',
}

function answer({ held, released }: Outcome, account: LedgerAccount): Answer {
  const { available, bonds, earned, frozen } = account
  const money = { available: `${available}`, frozen: `${frozen}`, earned: `${earned}`, bonds: `${bonds}` }
  const back = sum(released)
  const rest = frozen + earned + bonds - sum(held)
  const rows = [
    ...released.map((hold) => [...cells(hold), 'available again']),
    ...held.map((hold) => [...cells(hold), `${WHY[hold.kind]} until ${timeText(hold.dueMs)}`]),
  ]
  const lines = [
    ...(rows.length > 0 ? [table(rows, ['credits', 'of', 'id', 'state'])] : []),
    ...(rest > 0n
      ? [`${rest} credits were frozen just now, or their lane is not in the log yet: look again later.`]
      : []),
    ...(held.length > 0 ? ['What is held stays so until it is released: give the command again then.'] : []),
    `${back} credits are available again, ${available} in all; ${frozen} are frozen, ${earned} earned, ${bonds} in bonds.`,
  ]
  return {
    json: { released: released.map(toJson), held: held.map(toJson), returned: `${back}`, ...money },
    text: lines.join('\n'),
  }
}

const sum = (holds: readonly Hold[]): bigint => holds.reduce((total, { credits }) => total + credits, 0n)

const cells = ({ credits, declaration, kind, lane }: Hold): string[] => [
  String(credits),
  lane === undefined ? 'declaration' : kind === 'spent' ? 'lane to a seller' : 'lane of a buyer',
  lane ?? declaration,
]

const toJson = ({ bond, credits, ...hold }: Hold) => ({ ...hold, credits: String(credits), bond: String(bond) })
