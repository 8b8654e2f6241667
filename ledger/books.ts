/** The ledger's books behind its HTTP side: what commands and questions come down to. */
import { equal, type Bytes } from '../protocol/bytes.ts'
import { keys, policies, type Accepted, type Policy } from '../protocol/arbiter/items.ts'
import type { Command } from '../protocol/arbiter/step.ts'
import { decode } from '../protocol/encoding.ts'
import { Problem } from '../protocol/problem.ts'
import { issueReceipt } from '../protocol/receipt.ts'
import type { Envelope } from '../protocol/signed.ts'
import type { Accept } from './accept.ts'
import type { LedgerContext } from './context.ts'
import { readHead } from './log.ts'
import { load } from './state.ts'

export interface Answer {
  readonly accepted: Accepted
  readonly isRepeat: boolean
  /** The same for every repeat. */
  readonly receipt: Envelope
}

export interface Books {
  readonly context: LedgerContext
  /** That of the log's first entry. */
  readonly policy: () => Promise<Policy>
  /** @throws Problem of the rules, `conflict`, `store-unavailable` */
  readonly submit: (command: Command) => Promise<Answer>
}

/** @param sequence called once a new log has its first entry waiting */
export function openBooks(context: LedgerContext, accept: Accept, sequence: () => Promise<unknown>): Books {
  let opened: Promise<Policy> | undefined

  function policy(): Promise<Policy> {
    opened ??= openPolicy(context, accept, sequence).catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }

  return {
    context,
    policy,
    async submit(command) {
      const { mergeDelay } = await policy()
      const { accepted, isRepeat } = await accept(command)
      const { entry, time } = accepted
      // It waits, and may be late in the log: when it comes again, it is told what became of it.
      if (!isRepeat && context.environment.clock.now() - time >= mergeDelay)
        throw new Problem('store-unavailable', 'The store was too slow for a promise. Ask again.')
      const receipt = issueReceipt({ entry, ledger: context.id, mergeDelay, time }, context.signer)
      return { accepted, isRepeat, receipt }
    },
  }
}

/** @throws Problem `conflict` when the log was begun with another key */
async function openPolicy(context: LedgerContext, accept: Accept, sequence: () => Promise<unknown>): Promise<Policy> {
  const policy = (await readPolicy(context)) ?? (await begin(context, accept))
  if (!equal(policy.key, context.signer.key)) {
    throw new Problem('conflict', 'The store holds the log of a ledger with another key.')
  }
  if (policy.shards !== context.policy.shards)
    throw new Problem(
      'conflict',
      `The stored log has ${policy.shards ?? 1} shards; the number cannot be changed after the log was begun.`,
    )
  if ((await readHead(context.store)).size === 0) await sequence()
  return policy
}

async function readPolicy({ store }: LedgerContext): Promise<Policy | undefined> {
  const item = await load(store, keys.policy)
  return item && policies.decode(item.body)
}

/** Another process may have begun the log at the same moment: then its policy stands. */
async function begin(context: LedgerContext, accept: Accept): Promise<Policy> {
  const data = decode(policies.encode(context.policy))
  await accept({ kind: 'policy', parts: [], data }).catch(async (error: unknown) => {
    if (!(await readPolicy(context))) throw error
  })
  return (await readPolicy(context)) ?? context.policy
}

export const sumOf = (accepted: Accepted, kind: 'available' | 'bonds' | 'frozen' | 'earned'): bigint =>
  accepted.moves.reduce((sum, movement) => sum + (movement[kind] ?? 0n), 0n)

export const accountOf = (accepted: Accepted): Bytes => {
  const [first] = accepted.moves
  if (!first) throw new Error('the entry is on no account')
  return first.account
}
