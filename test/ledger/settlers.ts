/** Many lanes to settle on at once, each to a payee of its own. */
import { toHex, type Bytes } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { objectId, type Envelope } from '../../protocol/signed.ts'
import { DAY_MS } from './kit.ts'
import { person, purchase, type Lane, type Person } from './people.ts'

export interface SettlersOptions {
  /** 32 bytes. */
  readonly ledger: Bytes
  readonly nowMs: number
  readonly payers: number
  readonly lanesEach: number
  /** Units that each lane can be settled for, one after the other: a multiple of 64, or below. */
  readonly units: number
  /** Sends a command, and fails unless it is accepted. */
  readonly send: (path: string, objects: Readonly<Record<string, Envelope>>) => Promise<unknown>
}

export interface SettlingLane extends Lane {
  readonly payer: Person
  readonly payee: Person
  readonly units: number
}

const SEGMENT = 64

/** Registers everybody, declares and claims. Each unit costs 2 credits. */
export async function openSettlers(options: SettlersOptions): Promise<SettlingLane[]> {
  const payers = Array.from({ length: options.payers }, (_, i) => settler(`payer ${i}`, options.nowMs))
  return (await Promise.all(payers.map((payer, i) => lanesOf(payer, i, options)))).flat()
}

async function lanesOf(payer: Person, of: number, options: SettlersOptions): Promise<SettlingLane[]> {
  const { lanesEach, ledger, nowMs, send, units } = options
  const segment = Math.min(SEGMENT, units)
  const segments = Math.ceil(units / segment)
  await send('/v1/accounts', { identity: payer.identity })
  const download = purchase(payer, { units: units * lanesEach, segment, ledger, expires: nowMs + DAY_MS })
  await send('/v1/declarations', { declaration: download.declaration })
  const lanes: SettlingLane[] = []
  for (let i = 0; i < lanesEach; i++) {
    const payee = settler(`payee ${of} ${i}`, nowMs)
    await send('/v1/accounts', { identity: payee.identity })
    const lane = download.lane(payee, { first: segments * i, segments, cap: units })
    await send('/v1/claims', { commitment: lane.commitment, claim: lane.claim })
    lanes.push({ ...lane, payer, payee, units })
  }
  return lanes
}

function settler(name: string, nowMs: number): Person {
  const { agent, signer } = person(name)
  const identity = genesis([signer], nowMs)
  const id = objectId('identity', identity.body)
  return { id, hex: toHex(id), signer, agent, identity }
}
