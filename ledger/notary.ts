/**
 * Follows the log, replays it with the arbiter's rules and states from time to time, as an entry like any other, what
 * its first entries lead to. All that it knows comes from the log, so it may be killed and started anywhere; of two,
 * the slower one's statement is refused.
 *
 * A log that does not replay is a fault of ours that no later entry can mend: it is reported, and nothing is attested
 * from there on.
 */
import { attestations, readAttestation } from '../protocol/arbiter/items.ts'
import { createReplica } from '../protocol/arbiter/replica.ts'
import { equal, type Bytes } from '../protocol/bytes.ts'
import { decode } from '../protocol/encoding.ts'
import { entryHash } from '../protocol/entry.ts'
import { append, EMPTY_FRONTIER, frontierRoot } from '../protocol/merkle.ts'
import { problemOf } from '../protocol/problem.ts'
import type { Accept } from './accept.ts'
import type { LedgerContext } from './context.ts'
import { readEntries, readHead } from './log.ts'
import { createTurn } from './turn.ts'

/** An attestation after so many entries, or when nothing has come for so long. */
const ENTRIES_BETWEEN = 1000
const IDLE_MS = 3000
/** Requests are answered between two such stretches. */
const ENTRIES_AT_ONCE = 32

export interface Notary {
  /** Replays what is new, and attests when it is time to. @throws Error once, when what the log holds does not follow */
  follow(): Promise<void>
  /** Attests all entries there are now, unless nothing came since the last attestation. */
  attest(): Promise<void>
}

export function createNotary({ environment, store }: LedgerContext, accept: Accept): Notary {
  const { clock } = environment
  const replica = createReplica()
  const inTurn = createTurn()
  let tree = EMPTY_FRONTIER
  /** The entries up to the last that is no attestation, and those that the log attests. */
  let news = 0
  let attested = 0
  let newsMs = clock.now()
  let isSound = true

  async function catchUp(): Promise<void> {
    const head = await readHead(store)
    while (replica.size() < head.size) {
      for (const bytes of await readEntries(store, replica.size(), head.size)) {
        await apply(bytes)
        if (replica.size() % ENTRIES_AT_ONCE === 0) await clock.sleep(0)
      }
    }
    if (!equal(frontierRoot(tree), frontierRoot(head))) throw unsound('the checkpoint has another root')
  }

  async function apply(bytes: Bytes): Promise<void> {
    const { data, kind } = await replica.apply(bytes).catch((error: unknown) => {
      throw unsound(problemOf(error).message, error)
    })
    tree = append(tree, [entryHash(bytes)])
    if (kind === 'state') attested = readAttestation(data ?? {}).size
    else [news, newsMs] = [replica.size(), clock.now()]
  }

  function unsound(why: string, cause?: unknown): Error {
    isSound = false
    return new Error(`the log does not replay after ${replica.size()} entries: ${why}`, { cause })
  }

  async function attestNews(): Promise<void> {
    if (news <= attested) return
    const statement = attestations.encode(await replica.attestationAt(replica.size()))
    await accept({ kind: 'state', parts: [], data: decode(statement) }).catch(unlessLate)
  }

  async function followSound(isDue: () => boolean): Promise<void> {
    if (!isSound) return
    await catchUp()
    if (isDue()) await attestNews()
  }

  return {
    follow: () =>
      inTurn(() => followSound(() => replica.size() - attested >= ENTRIES_BETWEEN || clock.now() - newsMs >= IDLE_MS)),
    attest: () => inTurn(() => followSound(() => true)),
  }
}

/** Another notary was faster. */
function unlessLate(error: unknown): void {
  if (problemOf(error).code !== 'conflict') throw error
}
