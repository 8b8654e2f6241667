/** The ledger of a town: one process or two over one store, and the witnesses that it asks. */
import { createLedger } from '../../ledger/ledger.ts'
import { createWitness } from '../../ledger/witness/witness.ts'
import type { WitnessPlace } from '../../protocol/witness-client.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey, parseVerifierKey, type NoteKey } from '../../protocol/checkpoint.ts'
import { limits } from '../../protocol/limits.ts'
import { signerFrom, type Signer } from '../../protocol/signed.ts'
import { createHost, type Host } from './host.ts'
import type { World } from './world.ts'

export interface LedgerTown {
  /** Where all of them are reached. */
  readonly url: string
  /** Over one store. */
  readonly hosts: readonly Host[]
  readonly witnesses: readonly Host[]
  /** What signs its checkpoints, and decides. */
  readonly signer: Signer
  readonly key: NoteKey
}

export interface LedgerPlan {
  /** How many processes run it, how many witnesses it asks, and how many shards its log is in. */
  readonly processes: number
  readonly witnesses: number
  readonly shards: number
}

/** The one that everyone has an account at. */
export const LEDGER = 'ledger'
const FAUCET = 10_000n

export const ledgerHosts = ({ processes }: Pick<LedgerPlan, 'processes'>, name = LEDGER): string[] =>
  Array.from({ length: processes }, (_, i) => (i === 0 ? name : `${name}-${i + 1}`))

export const witnessHosts = ({ witnesses }: Pick<LedgerPlan, 'witnesses'>): string[] =>
  Array.from({ length: witnesses }, (_, i) => `witness-${i + 1}`)

export function createLedgerTown(world: World, name: string, plan: LedgerPlan): LedgerTown {
  const secret = world.chance.fork(name).bytes(32)
  const signer = signerFrom(secret)
  const key = noteKey(`${name}.test/log`, signer.key)
  const [places, witnesses] = unzip(witnessHosts(plan).map((witness) => createWitnessHost(world, witness, [key])))
  const names = ledgerHosts(plan, name)
  const hosts: Host[] = []
  for (const host of names)
    hosts.push(
      createLedgerHost(world, { name: host, secret, origin: key.name, places, shards: plan.shards, beside: hosts[0] }),
    )
  world.network.route(name, names)
  return { url: `https://${name}`, hosts, witnesses, signer, key }
}

interface LedgerSetup {
  readonly name: string
  readonly secret: Bytes
  readonly origin: string
  readonly places: readonly WitnessPlace[]
  readonly shards: number
  readonly beside: Host | undefined
}

const createLedgerHost = (world: World, { name, secret, origin, places, shards, beside }: LedgerSetup): Host =>
  createHost({
    world,
    name,
    ...(beside && { items: beside.items }),
    build({ environment, store, onFault }) {
      const policy = { unitPrice: 1n, faucet: FAUCET, mergeDelay: limits.mergeDelayMs, ...(shards > 1 && { shards }) }
      const ledger = createLedger({ environment, store, secret, origin, policy, witnesses: places, onFault })
      return { fetch: (request) => ledger.app.fetch(request), start: () => ledger.start(), stop: () => ledger.stop() }
    },
  })

function createWitnessHost(world: World, name: string, logs: readonly NoteKey[]) {
  const secret = world.chance.fork(name).bytes(32)
  const key = parseVerifierKey(formatVerifierKey(noteKey(name, signerFrom(secret).key, 'cosignature')), 'cosignature')
  const host = createHost({
    world,
    name,
    build({ environment, store, onFault }) {
      const witness = createWitness({ environment, store, secret, name, logs, onFault: unlessForged(world, onFault) })
      return { fetch: (request) => witness.app.fetch(request), start: () => undefined, stop: async () => undefined }
    },
  })
  return [{ key, url: host.url }, host] as const
}

/** That a log has signed two histories is what a witness is there to say. */
const unlessForged =
  ({ trace }: World, onFault: (error: unknown) => void) =>
  (error: unknown): void =>
    error instanceof Error && error.message.includes('has signed two checkpoints')
      ? trace.note(`a witness reports ${error.message}`)
      : onFault(error)

const unzip = <A, B>(pairs: readonly (readonly [A, B])[]): readonly [readonly A[], readonly B[]] => [
  pairs.map(([one]) => one),
  pairs.map(([, other]) => other),
]
