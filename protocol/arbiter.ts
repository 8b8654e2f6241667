/**
 * The rules of the ledger: signed objects in, movements of credits out. Pure: the same view, command and time give the
 * same outcome, so whoever holds the log can replay every decision.
 *
 * On every account: `available` + `frozen` + `earned` + `bonds`, summed over all of them, is what was issued. `frozen` is
 * the price of what its open declarations have not claimed and its open lanes have not redeemed; `earned` the price of
 * what was redeemed on open lanes to it; `bonds` what it put up for open sealed lanes to it.
 */
import { toHex, type Bytes } from './bytes.ts'
import { field, fields } from './encoding.ts'
import { encodeEntry, entryHash, type Entry } from './entry.ts'
import { Problem } from './problem.ts'
import type { Envelope } from './signed.ts'
import { delegate, register, rotate, transfer } from './arbiter/accounts.ts'
import { dispute } from './arbiter/disputes.ts'
import { accounts, keys, movementShape, readKnown, write, type Accepted, type Movement } from './arbiter/items.ts'
import { claim, declare, redeem } from './arbiter/lanes.ts'
import { buy, sell } from './arbiter/circulation.ts'
import { decline, lock, mint, refund } from './arbiter/crossings.ts'
import { setPeer, setPrice } from './arbiter/governance.ts'
import { attest, setPolicy } from './arbiter/statements.ts'
import { release } from './arbiter/releases.ts'
import { move, type Command, type CommandKind, type Step } from './arbiter/step.ts'
import type { View } from './arbiter/view.ts'

/** A command whose objects are parsed and whose signatures are verified: what is left depends on the state. */
export interface Prepared {
  readonly command: Command
  readonly step: Step
}

export type Outcome =
  /** `bytes`: the encoded entry, for the log. The view holds the changes. */
  | { readonly kind: 'accepted'; readonly accepted: Accepted; readonly bytes: Bytes }
  /** The very same command was accepted before, and was answered with this. The view is unchanged. */
  | { readonly kind: 'repeat'; readonly accepted: Accepted }

const steps: Readonly<Record<CommandKind, (command: Command) => Step>> = {
  policy: ({ data }) => setPolicy(data),
  register: (command) =>
    command.parts.length === 2 ? register(part(command, 0, 2), part(command, 1, 2)) : register(part(command, 0, 1)),
  rotate: (command) => rotate(part(command, 0, 1)),
  delegate: (command) => delegate(part(command, 0, 1)),
  declare: (command) => declare(part(command, 0, 1)),
  claim: (command) => claim(part(command, 0, 2), part(command, 1, 2)),
  redeem: (command) => redeem(part(command, 0, 1)),
  release: (command) =>
    command.parts.length === 2 ? release(part(command, 0, 2), part(command, 1, 2)) : release(part(command, 0, 1)),
  dispute: (command) => dispute(part(command, 0, 2), part(command, 1, 2)),
  transfer: (command) => transfer(part(command, 0, 1)),
  buy: (command) => buy(part(command, 0, 1)),
  sell: (command) => sell(part(command, 0, 2), part(command, 1, 2)),
  price: ({ parts }) => setPrice(parts),
  peer: ({ parts }) => setPeer(parts),
  lock: (command) => lock(part(command, 0, 1)),
  mint: (command) => mint(part(command, 0, 1)),
  decline: (command) => decline(part(command, 0, 1)),
  refund: (command) => refund(part(command, 0, 1)),
  state: ({ data }) => attest(data),
}

export const isCommandKind = (kind: string): kind is CommandKind => Object.hasOwn(steps, kind)

/** @throws Problem `bad-encoding`, `bad-signature`, and what the form of an object alone rules out */
export const prepare = (command: Command): Prepared => ({ command, step: steps[command.kind](command) })

/**
 * @param nowMs the ledger's time, later than that of every item that the view reads
 * @throws Problem when the rules refuse; the view is to be thrown away then
 */
export async function decide(view: View, { command, step }: Prepared, nowMs: number): Promise<Outcome> {
  const before = await step.repeated(view)
  if (before) return { kind: 'repeat', accepted: before }
  const moves = merge(await step.apply(view, nowMs))
  await applyBalances(view, moves)
  const bytes = encodeEntry({ ...command, data: command.data ?? { moves }, time: nowMs })
  const accepted = { entry: entryHash(bytes), moves, time: nowMs }
  await step.remember(view, accepted)
  return { kind: 'accepted', accepted, bytes }
}

/** What the entry of a command moved, account by account; what the ledger states of itself moves nothing. */
export function movementsOf({ data, kind }: Entry): readonly Movement[] {
  return data === undefined || isStated(kind) ? [] : fields(data, movesShape).moves
}

const movesShape = { moves: field.list(field.dict(movementShape)) }

/** Whether the ledger itself says it, with no signed object behind it. */
export const isStated = (kind: string): boolean => kind === 'policy' || kind === 'state' || kind === 'join'

/** One movement for each account, in the order of first mention. */
function merge(moves: readonly Movement[]): readonly Movement[] {
  const merged = new Map<string, Movement>()
  for (const next of moves) {
    const known = merged.get(toHex(next.account))
    merged.set(toHex(next.account), known ? sum(known, next) : next)
  }
  return [...merged.values()]
}

const sum = (a: Movement, b: Movement): Movement =>
  move(a.account, {
    available: a.available + b.available,
    bonds: (a.bonds ?? 0n) + (b.bonds ?? 0n),
    earned: a.earned + b.earned,
    frozen: a.frozen + b.frozen,
  })

async function applyBalances(view: View, moves: readonly Movement[]): Promise<void> {
  for (const { account: id, available } of moves) {
    if (available === 0n) continue
    const account = await readKnown(view, accounts, keys.account(id), 'account')
    const left = account.available + available
    if (left < 0n)
      throw new Problem(
        'funds-insufficient',
        `${-available} credits are needed, and the account has ${account.available} available.`,
      )
    write(view, accounts, keys.account(id), { ...account, available: left })
  }
}

/** @throws Problem `bad-request` unless the command has exactly `count` objects */
function part({ kind, parts }: Command, index: number, count: number): Envelope {
  const envelope = parts[index]
  if (!envelope || parts.length !== count) throw new Problem('bad-request', `A ${kind} has ${count} signed objects.`)
  return envelope
}
