/** What a command is, and what it is handed. */
import type { ParseArgsOptionsConfig } from 'node:util'
import type { Environment } from '../../protocol/environment.ts'
import type { Signer } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import type { Home, Owner, Settings } from '../home.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'
import type { RepositoryClient } from '../clients/repository-client.ts'
import type { OwnerClient } from './owner-client.ts'

export interface Command {
  /** After the command's name, such as `PATH [--price CREDITS]`. */
  readonly usage: string
  readonly summary: string
  readonly options?: ParseArgsOptionsConfig
  /** Least and most positional arguments. */
  readonly takes: readonly [least: number, most: number]
  run(call: Call): Promise<Answer>
}

/** By name, in the order of the help. */
export type Commands = Readonly<Record<string, Command>>

/** `json` is the document of `--json`; `text` what a person reads. `exitCode` other than 0 for a verdict that is a failure. */
export interface Answer {
  readonly json: unknown
  readonly text: string
  readonly exitCode?: number
}

export interface Call {
  readonly args: readonly string[]
  readonly environment: Environment
  readonly home: Home
  readonly homeDir: string
  readonly signal: AbortSignal
  /** Replaces the line of progress on a terminal, an empty one removes it; does nothing elsewhere. */
  progress(line: string): void
  /** A line in place of the one of progress, on a terminal alone. */
  remark(line: string): void
  /** A line for the person, terminal or not. */
  say(line: string): void
  text(name: string): string | undefined
  /** An option in credits. @throws UsageError unless it is a whole number */
  credits(name: string): string | undefined
  flag(name: string): boolean
  all(name: string): readonly string[]
  readFile(path: string): Promise<Uint8Array>
  /** A store in a file; undefined where nothing is to be kept. */
  openStore(path: string): Promise<Store | undefined>
  resolvePath(path: string): string
  /** Of the owner's key; undefined when no file is named. */
  passphrase(): Promise<string | undefined>
  /** To measure with: of any origin, with fractions of a millisecond. */
  monotonicMs(): number
  settings(): Promise<Settings>
  owner(): Promise<Owner>
  signer(): Promise<Signer>
  agentUrl(): Promise<string>
  agent(): Promise<OwnerClient>
  ledger(url?: string): Promise<LedgerClient>
  repository(url?: string): Promise<RepositoryClient>
}

/** The call's words are off: exit code 2. */
export class UsageError extends Error {}
