/** What a command comes down to once its objects are parsed and their signatures verified. */
import type { Bytes } from '../bytes.ts'
import type { Bencode } from '../encoding.ts'
import type { Envelope } from '../signed.ts'
import { acceptances, keys, read, write, type Accepted, type Movement } from './items.ts'
import type { View } from './view.ts'

export type CommandKind =
  | 'policy'
  | 'register'
  | 'rotate'
  | 'delegate'
  | 'declare'
  | 'claim'
  | 'redeem'
  | 'release'
  | 'dispute'
  | 'transfer'
  | 'buy'
  | 'sell'
  | 'price'
  | 'peer'
  | 'lock'
  | 'mint'
  | 'decline'
  | 'refund'
  | 'state'

/** What asks for an entry: the signed objects in the order of the kind, or what the ledger itself states. */
export interface Command {
  readonly kind: CommandKind
  readonly parts: readonly Envelope[]
  readonly data?: Bencode
}

export interface Step {
  /** What the very same command was answered with, when it was accepted before. */
  repeated(view: View): Promise<Accepted | undefined>
  /**
   * Checks the rules and changes the view, but for the balances of accounts: those follow from the movements returned.
   * @throws Problem when a rule says no; the view may hold half of the changes then and is thrown away
   */
  apply(view: View, nowMs: number): Promise<readonly Movement[]>
  /** Keeps the answer for the day that the command comes again. */
  remember(view: View, accepted: Accepted): Promise<void>
}

/** A step that is taken once for the object with this id. */
export const once = (id: Bytes, apply: Step['apply']): Step => ({
  repeated: (view) => read(view, acceptances, keys.accepted(id)),
  apply,
  remember: async (view, accepted) => write(view, acceptances, keys.accepted(id), accepted),
})

/** What the ledger states itself: never sent, so never repeated. */
export const stated = (apply: Step['apply']): Step => ({
  repeated: async () => undefined,
  apply,
  remember: async () => {},
})

const NOTHING = { available: 0n, earned: 0n, frozen: 0n }

/** A movement of nothing still puts the entry on the account's statement. */
export const move = (account: Bytes, { bonds = 0n, ...change }: Partial<Omit<Movement, 'account'>> = {}): Movement => ({
  account,
  ...NOTHING,
  ...change,
  ...(bonds !== 0n && { bonds }),
})
