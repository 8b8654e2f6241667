/**
 * One account's allowance, shared by all instances through the store. A driver runs each request through it: it waits for
 * its turn, comes again after a fault that passes, and is refused at once while the account is parked or shut out.
 */
import type { Environment } from '../../protocol/environment.ts'
import type { Store } from '../../protocol/store.ts'

export interface Pacer {
  /**
   * @param units what the request takes of the allowance, by default 1
   * @throws what the action throws: a fault that does not pass at once, one that passes after the last attempt
   */
  run<T>(action: () => Promise<T>, units?: number): Promise<T>
}

export interface PacerOptions {
  /** Whose allowance: the same for all links of one account, such as `drive/<client id>/<user>`. Holds no secret. */
  readonly account: string
  /** Units a minute; unlimited unless given. */
  readonly unitsPerMinute?: number
  /** Tries of a request, the first one too. Default 5. */
  readonly attempts?: number
}

export type PacerContext = { readonly environment: Pick<Environment, 'clock' | 'random'>; readonly store: Store }
