/** A ledger's operator with two histories: has a witness cosign another one than that which the ledger goes on with. */
import { formatCheckpoint, openNote, parseCheckpoint, signNote, type NoteKey } from '../../protocol/checkpoint.ts'
import { fromUtf8, toHex, utf8 } from '../../protocol/bytes.ts'
import { formatAddCheckpoint, parseAddCheckpoint, parseSize } from '../../protocol/witness-request.ts'
import type { Chance } from './chance.ts'
import type { LedgerTown } from './ledgers.ts'
import { CALM } from './network.ts'
import type { World } from './world.ts'

const ATTEMPTS = 4

/** Through the storm, a few forged checkpoints, each with a proof that looks like one. */
export async function forge(world: World, { witnesses, key, signer }: LedgerTown, chance: Chance): Promise<void> {
  const transport = world.network.transportOf('forger', CALM)
  const ask = async (url: string, size: number, oldSize: number, hashes: number): Promise<Response> => {
    const text = formatCheckpoint({ origin: key.name, size, rootHash: chance.bytes(32) })
    const note = signNote(text, { name: key.name, signer })
    const proof = Array.from({ length: hashes }, () => chance.bytes(32))
    const body = utf8(formatAddCheckpoint({ oldSize, proof, note }))
    return transport(new Request(`${url}/add-checkpoint`, { method: 'POST', body }))
  }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    await world.scheduler.sleep(chance.integer(2_000, 15_000))
    const { url } = chance.pick(witnesses)
    const known = await ask(url, 0, 0, 0).catch(() => undefined)
    const size = known?.status === 409 ? parseSize(await known.text()) : 0
    // Whoever comes first decides which history it is.
    if (size > 0) await ask(url, size + chance.integer(0, 3), size, chance.integer(0, 4)).catch(() => undefined)
  }
}

/** What witnesses have cosigned is one history: no two checkpoints of one size differ, and all are of the published log. */
/** @returns roots, hex, by size */
export function watchWitnesses(world: World, { witnesses, key }: LedgerTown): ReadonlyMap<number, string> {
  const names = new Set(witnesses.map(({ name }) => name))
  const roots = new Map<number, string>()
  world.network.onExchange(({ to, answer, body }) => {
    if (!names.has(to) || answer.status !== 200) return
    world.count('cosigned')
    const { size, root } = checkpointIn(fromUtf8(body), key)
    if ((roots.get(size) ?? root) !== root) world.fail(`${to} cosigns a fork at size ${size}`)
    roots.set(size, root)
  })
  return roots
}

function checkpointIn(request: string, key: NoteKey): { readonly size: number; readonly root: string } {
  const { note } = parseAddCheckpoint(request)
  const { size, rootHash } = parseCheckpoint(openNote(note, [key]).text)
  return { size, root: toHex(rootHash) }
}
