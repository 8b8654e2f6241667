/** Sellers that misbehave: a whole and honest agent, with something in front of it. */
import { concat, type Bytes } from '../../protocol/bytes.ts'
import { label, parseLabel, type Label, type LabelTerms } from '../../protocol/label.ts'
import { rootsOf } from '../../protocol/sealed.ts'
import { envelopeFromJson, envelopeToJson, type Signer } from '../../protocol/signed.ts'
import { decodePaymentResponse, encodePaymentResponse, PAYMENT_RESPONSE } from '../../protocol/x402.ts'
import type { Chance } from './chance.ts'
import type { Handler } from './network.ts'
import type { Scheduler } from './scheduler.ts'

/**
 * `garbage`: bytes that are not the piece. `stall`: no answer to what was paid. `withhold`: the tick is taken, the piece
 * is not sent, nor the key of a sealed one. `short`: the piece ends early, or goes on. `mislabel`: something else is
 * sealed under the hash of the piece. `vanish`: the host goes for good.
 */
export const MISCHIEFS = ['garbage', 'stall', 'withhold', 'short', 'mislabel', 'vanish'] as const
export type Mischief = (typeof MISCHIEFS)[number]

const STALL_MS = 3_600_000

export interface Means {
  readonly chance: Chance
  readonly scheduler: Scheduler
  /** The agent's. */
  readonly signer: Signer
}

export function tamperWith(mischief: Mischief | undefined, means: Means): (answer: Handler) => Handler {
  if (mischief === undefined || mischief === 'vanish') return (answer) => answer
  const { chance } = means
  const share = chance.pick([0.3, 1])
  return (answer) => async (request) => {
    const { pathname } = new URL(request.url)
    const isPiece = /^\/v1\/pieces\/[0-9a-f]+\/[0-9]+$/.test(pathname)
    const isKey = mischief === 'withhold' && pathname === '/v1/ticks'
    const response = await answer(request)
    if (!(isPiece || isKey) || response.status !== 200 || !chance.hits(share)) return response
    return spoil(mischief, response, means)
  }
}

async function spoil(
  mischief: Exclude<Mischief, 'vanish'>,
  response: Response,
  { chance, scheduler, signer }: Means,
): Promise<Response> {
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { status, headers } = response
  if (mischief === 'garbage') return new Response(flipped(bytes, chance), { status, headers })
  if (mischief === 'withhold') return new Response(null, { status: chance.pick([500, 404, 402, 204]) })
  if (mischief === 'short') return new Response(chance.hits(0.5) ? bytes.subarray(1) : concat(bytes, bytes), { status })
  if (mischief === 'mislabel') return mislabelled(withLastFlipped(bytes), headers, signer)
  await scheduler.sleep(STALL_MS)
  return new Response(bytes, { status, headers })
}

function flipped(bytes: Bytes, chance: Chance): Bytes {
  const at = chance.integer(0, bytes.length - 1)
  return bytes.map((byte, i) => (i === at ? byte ^ chance.integer(1, 255) : byte))
}

/** The hashes come first. */
const withLastFlipped = (bytes: Bytes): Bytes => bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte))

/** The hashes stay those of the piece, and the label says what was made of it. What is not sealed is garbage. */
function mislabelled(body: Bytes, headers: Headers, signer: Signer): Response {
  const payment = decodePaymentResponse(headers.get(PAYMENT_RESPONSE) ?? '')
  const sealed = payment.extensions?.sealed
  if (!sealed) return new Response(body, { headers })
  const honest = parseLabel(envelopeFromJson(sealed.label))
  const { cipherRoot } = rootsOf(body, honest)
  const said = envelopeToJson(label({ ...termsOf(honest), cipherRoot }, signer))
  const response = encodePaymentResponse({ ...payment, extensions: { sealed: { ...sealed, label: said } } })
  return new Response(body, { headers: { ...Object.fromEntries(headers), [PAYMENT_RESPONSE]: response } })
}

const termsOf = ({ lane, length, levels, piece, plainRoot, unit }: Label): Omit<LabelTerms, 'cipherRoot'> => ({
  lane,
  length,
  levels,
  piece,
  plainRoot,
  unit,
})
