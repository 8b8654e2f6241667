import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createReplica } from '../../protocol/arbiter/replica.ts'
import type { CommandKind } from '../../protocol/arbiter/step.ts'
import { stateRoot } from '../../protocol/arbiter/state-root.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { encodeEntry, entryHash } from '../../protocol/entry.ts'
import { rootOf } from '../../protocol/merkle.ts'
import { ledgerVector } from './ledger-story.ts'

interface Vector {
  readonly vkey: string
  readonly checkpoint: string
  readonly entries: readonly {
    readonly kind: string
    readonly entry: string
    readonly leafHash: string
    readonly after: Readonly<Record<string, string>>
  }[]
  readonly refused: readonly {
    readonly after: number
    readonly time: number
    readonly kind: string
    readonly parts: readonly { readonly b: string; readonly k: string; readonly s: string }[]
    readonly code: string
  }[]
  readonly items: readonly { readonly pk: string; readonly sk: string; readonly body: string }[]
}

/** The compiler misses one that is new. */
const KINDS: Readonly<Record<CommandKind, true>> = {
  policy: true,
  register: true,
  rotate: true,
  delegate: true,
  declare: true,
  claim: true,
  redeem: true,
  release: true,
  dispute: true,
  transfer: true,
  buy: true,
  sell: true,
  price: true,
  peer: true,
  lock: true,
  mint: true,
  decline: true,
  refund: true,
  state: true,
}

const path = fileURLToPath(new URL('../vectors/ledger.json', import.meta.url))
const vector = JSON.parse(readFileSync(path, 'utf8')) as Vector

test('the vector is what the story leads to: `-u` writes it anew', async () => {
  await expect(`${JSON.stringify(await ledgerVector(), null, 2)}\n`).toMatchFileSnapshot(path)
})

test('every entry replays to its leaf hash, state root and sums', async () => {
  const replica = createReplica()
  for (const { kind, entry, leafHash, after } of vector.entries) {
    expect(toHex(entryHash(fromHex(entry)))).toBe(leafHash)
    expect((await replica.apply(fromHex(entry))).kind).toBe(kind)
    const { available, bonds = 0n, earned, frozen, issued, root } = await replica.attestationAt(replica.size())
    expect({
      stateRoot: toHex(root),
      available: String(available),
      bonds: String(bonds),
      frozen: String(frozen),
      earned: String(earned),
      issued: String(issued),
    }).toEqual(after)
  }
  const items = vector.items.map(({ pk, sk, body }) => ({ pk, sk, body: fromHex(body) }))
  expect(stateRoot(items)).toEqual(stateRoot(replica.items()))
  expect(items).toHaveLength(replica.items().length)
})

test('every command that is refused is refused with its code', async () => {
  const replica = createReplica()
  for (const { after, time, kind, parts, code } of vector.refused) {
    while (replica.size() < after) await replica.apply(fromHex(vector.entries[replica.size()]?.entry ?? ''))
    const objects = parts.map(({ b, k, s }) => ({ body: fromHex(b), key: fromHex(k), signature: fromHex(s) }))
    const entry = encodeEntry({ kind, parts: objects, time, data: { moves: [] } })
    await expect(replica.apply(entry), `${kind} after ${after}`).rejects.toMatchObject({ code })
  }
})

test('the checkpoint covers the entries', () => {
  const { size, rootHash } = parseCheckpoint(openNote(vector.checkpoint, [parseVerifierKey(vector.vkey)]).text)
  expect(size).toBe(vector.entries.length)
  expect(rootOf(vector.entries.map(({ leafHash }) => fromHex(leafHash)))).toEqual(rootHash)
})

test('it has every kind of entry, and the money of every state', () => {
  expect([...new Set(vector.entries.map(({ kind }) => kind))].toSorted()).toEqual(Object.keys(KINDS).toSorted())
  const bonds = vector.entries.map(({ after }) => after['bonds'])
  expect(bonds.filter((sum) => sum !== '0').length).toBeGreaterThan(1)
  expect(bonds.at(-1)).toBe('0')
})
