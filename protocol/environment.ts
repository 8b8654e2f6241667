/** What a service needs from the world. Entry points hand in the real one; tests and the simulation hand in seeded ones. */
import type { Bytes } from './bytes.ts'

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Random {
  bytes(length: number): Bytes
}

/** The shape of `fetch` and of every hono app's `fetch`. Follows no redirect. */
export type Transport = (request: Request) => Promise<Response>

export interface Environment {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
}
