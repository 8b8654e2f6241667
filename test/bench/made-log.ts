/**
 * A log of any length as a ledger would have it: entries that the rules make, each round of them attested, as tiles in a
 * folder. Owners who buy of each other are of one group, and groups know nothing of each other: each is made by itself,
 * beside the others, and what their states add up to is the ledger's. The log is the same however it is made.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { attestations, policies, type Attestation } from '../../protocol/arbiter/items.ts'
import type { Sums } from '../../protocol/arbiter/replica.ts'
import { createStateSum } from '../../protocol/arbiter/state-root.ts'
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/encoding.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { SECRET, START_MS } from '../ledger/kit.ts'
import { createLogWriter } from './log-writer.ts'
import { BATCH, createBooks, createGroup, type Batch, type Group } from './made-group.ts'

const CHILD = fileURLToPath(new URL('made-group-child.ts', import.meta.url))
const GROUPS = 4
const POLICY = { faucet: 1_000_000_000n, key: signerFrom(SECRET).key, mergeDelay: 10_000, unitPrice: 1n }

/**
 * @param sizes at each of which the log gets a checkpoint, in the file `checkpoint.<size>`; the last is its end
 * @param aside makes each group in a process of its own, where the log is long enough for that
 */
export async function makeLog(dir: string, sizes: readonly number[], aside = false): Promise<void> {
  const writer = createLogWriter(dir, sizes)
  const books = createBooks()
  const policy = await books.append('policy', [], START_MS, decode(policies.encode(POLICY)))
  writer.add(policy)
  const groups = Array.from({ length: GROUPS }, (_, number) => (aside ? groupAside : createGroup)(number, policy))
  let size = 1
  for (let nowMs = START_MS + 1; !writer.isDone(); nowMs += GROUPS * BATCH + 1) {
    const batches = await Promise.all(groups.map((group, i) => group.next(nowMs + i * BATCH)))
    for (const entry of batches.flatMap(({ entries }) => entries)) writer.add(entry)
    size += batches.reduce((sum, { entries }) => sum + entries.length, 0)
    const attestation = attestationOf(size, [books.state(), ...batches])
    writer.add(await books.append('state', [], nowMs + GROUPS * BATCH, decode(attestations.encode(attestation))))
    size++
  }
  await Promise.all(groups.map((group) => group.end()))
}

/** Bonds are put up by none of them. */
function attestationOf(size: number, parts: readonly Omit<Batch, 'entries'>[]): Attestation {
  const total = (name: keyof Sums): bigint => parts.reduce((sum, { sums }) => sum + sums[name], 0n)
  const [available, earned, frozen, issued] = [total('available'), total('earned'), total('frozen'), total('issued')]
  return { available, earned, frozen, issued, root: createStateSum(addUp(parts)).root(), size }
}

/** State sums are sums (state-root.ts): of 1024 little-endian uint16, each by itself. */
function addUp(parts: readonly Pick<Batch, 'sum'>[]): Bytes {
  const total = new Uint8Array(parts[0]?.sum.length ?? 0)
  const numbers = new DataView(total.buffer)
  for (const { sum } of parts) {
    const own = new DataView(sum.buffer, sum.byteOffset)
    for (let at = 0; at < total.length; at += 2)
      numbers.setUint16(at, numbers.getUint16(at, true) + own.getUint16(at, true), true)
  }
  return total
}

function groupAside(number: number, policy: Bytes): Group {
  const child = fork(CHILD, [String(number), toHex(policy)], { serialization: 'advanced' })
  const ended = new AbortController()
  child.once('exit', () => ended.abort(new Error('A process that makes a part of the log has ended.')))
  return {
    async next(fromMs) {
      const batch = once(child, 'message', { signal: ended.signal })
      child.send(fromMs)
      return (await batch)[0] as Batch
    },
    end: async () => child.disconnect(),
  }
}
