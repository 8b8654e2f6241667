/**
 * Credits between ledgers (see `crossing.ts`): lock and refund at the ledger they leave, mint and decline at the one
 * they go to. Mint and decline write the same new item, so of the two there is one.
 */
import { type Bytes } from '../bytes.ts'
import { openNote } from '../checkpoint.ts'
import { parseLock, parseMint, parseRefund, type Carried, type Lock } from '../crossing.ts'
import { field, type Fields } from '../encoding.ts'
import { entryHash } from '../entry.ts'
import { readPeerPolicy } from '../federation.ts'
import { limits } from '../limits.ts'
import { requireWitnessed, type Witnessed } from '../log-policy.ts'
import { verifyInclusion } from '../merkle.ts'
import { Problem } from '../problem.ts'
import { openJoined } from '../shards.ts'
import type { Envelope } from '../signed.ts'
import { requireOwner } from './authority.ts'
import { circulate, takeBack } from './circulation.ts'
import { mostOf, peers, type Peer } from './governance.ts'
import { requireHere } from './here.ts'
import { dictionary, keys, movementShape, read, readKnown, shaped, write } from './items.ts'
import { once, type Step } from './step.ts'
import type { View } from './view.ts'

const answerShape = { entry: field.bytes(32), moves: field.list(field.dict(movementShape)), time: field.integer() }

const lockShape = {
  amount: field.amount,
  expires: field.integer(),
  from: field.bytes(32),
  /** What the refund was answered with. */
  refund: field.optional(field.dict(answerShape)),
  target: field.bytes(32),
}
export type LockItem = Fields<typeof lockShape>
export const locks = dictionary(shaped(lockShape))

const arrivalShape = { ...answerShape, what: field.choice('mint', 'decline') }
/** What became of a lock at the ledger it was for, and what that was answered with. */
export const arrivals = dictionary(shaped(arrivalShape))

export function lock(envelope: Envelope): Step {
  const { amount, expires, from, id, key, ledger, target } = parseLock(envelope)
  return once(id, async (view, nowMs) => {
    await requireHere(view, ledger, 'lock')
    await requireOwner(view, from, key)
    if (expires <= nowMs) throw new Problem('expired', 'The lock has expired.')
    if (expires > nowMs + limits.lockMs) throw new Problem('bad-request', `A lock expires within ${limits.lockMs} ms.`)
    const peer = await readPeer(view, target)
    write(view, peers, keys.peer(target), { ...peer, sent: peer.sent + amount })
    write(view, locks, keys.lock(id), { amount, expires, from, target })
    return [await circulate(view, from, 'sent', amount)]
  })
}

/** How many credits more came from a peer than went there. */
const surplusOf = ({ received, sent }: Peer): bigint => received - sent

/** @throws Problem `not-found` */
const readPeer = (view: View, ledger: Bytes): Promise<Peer> => readKnown(view, peers, keys.peer(ledger), 'peer ledger')

export function mint(envelope: Envelope): Step {
  const carried = parseMint(envelope)
  const { amount, expires, ledger, recipient, target } = carried.lock
  return arrival('mint', carried.lock, async (view, nowMs) => {
    await requireHere(view, target, 'lock')
    const peer = await readPeer(view, ledger)
    requireCarried(peer, carried, nowMs)
    if (nowMs >= expires) throw new Problem('expired', 'The lock has expired.')
    const { most: _, ...known } = peer
    const next = { ...known, received: peer.received + amount }
    if (surplusOf(next) > peer.limit)
      throw new Problem('limit-reached', `At most ${peer.limit} credits more come from that ledger than went there.`)
    write(view, peers, keys.peer(ledger), next)
    return [await circulate(view, recipient, 'received', amount)]
  })
}

/** Anyone who knows the lock may have it declined once it has expired unminted. */
export function decline(envelope: Envelope): Step {
  const order = parseLock(envelope)
  return arrival('decline', order, async (view, nowMs) => {
    await requireHere(view, order.target, 'lock')
    if (nowMs < order.expires) {
      throw new Problem('not-expired', 'The lock can still be minted.', { dueMs: order.expires })
    }
    return []
  })
}

/** A step that settles what becomes of a lock. @throws Problem `closed` when the other was done */
const arrival = (what: 'mint' | 'decline', { id }: Lock, apply: Step['apply']): Step => ({
  async repeated(view) {
    const before = await read(view, arrivals, keys.arrival(id))
    return before?.what === what ? before : undefined
  },
  async apply(view, nowMs) {
    const before = await read(view, arrivals, keys.arrival(id))
    if (before) throw new Problem('closed', `The lock is settled: ${before.what}.`)
    return apply(view, nowMs)
  },
  remember: async (view, accepted) => write(view, arrivals, keys.arrival(id), { ...accepted, what }),
})

/**
 * A lock makes room for credits from its target. Where those have come, what was locked waits until as many go there
 * again: else a peer that declines what an accomplice locks would bring more each time than it is trusted with.
 */
export function refund(envelope: Envelope): Step {
  const carried = parseRefund(envelope)
  const place = keys.lock(carried.lock.id)
  return {
    repeated: async (view) => (await read(view, locks, place))?.refund,
    async apply(view, nowMs) {
      const { amount, from, target } = await readKnown(view, locks, place, 'lock')
      const peer = await readPeer(view, target)
      requireCarried(peer, carried, nowMs)
      const next = { ...peer, sent: peer.sent - amount }
      if (surplusOf(next) > mostOf(peer))
        throw new Problem('limit-reached', 'Others came from that ledger for these: they wait until as many go there.')
      write(view, peers, keys.peer(target), next)
      return [await takeBack(view, from, amount)]
    },
    async remember(view, { entry, moves, time }) {
      const item = await readKnown(view, locks, place, 'lock')
      write(view, locks, place, { ...item, refund: { entry, moves, time } })
    },
  }
}

/**
 * Whether an entry is in a peer's log, by a checkpoint with the signatures that its policy asks for.
 * @throws Problem `proof-invalid`, `bad-signature`, `bad-encoding`
 */
function requireCarried({ policy }: Peer, { checkpoint, entry, index, proof, shard }: Carried, nowMs: number): void {
  const log = readPeerPolicy(policy)
  const root = witnessed(checkpoint, log, nowMs)
  if (root.origin !== log.key.name) throw new Problem('proof-invalid', 'The checkpoint is of another log.')
  const { rootHash, size } = shard ? openJoined(shard, root, log.key) : root
  if (!verifyInclusion(index, size, entryHash(entry), proof, rootHash))
    throw new Problem('proof-invalid', 'The entry is not proven to be in the log.')
}

function witnessed(note: string, log: ReturnType<typeof readPeerPolicy>, nowMs: number): Witnessed {
  try {
    return requireWitnessed(openNote(note, [log.key]), log, nowMs)
  } catch (error) {
    // For the caller this is a fault of the request, not of a service behind us.
    if (error instanceof Problem && error.code === 'unwitnessed')
      throw new Problem('proof-invalid', error.message, error.members)
    throw error
  }
}
