/** Pieces bought by hand, with all that may be answered on the way. */
import { toHex } from '../../protocol/bytes.ts'
import { tickToJson, type Tick } from '../../protocol/payword.ts'
import { envelopeToJson } from '../../protocol/signed.ts'
import { encodePayment, X402_VERSION, type Offer, type PaywordPayload } from '../../protocol/x402.ts'
import * as cast from './cast.ts'
import { json } from './example.ts'
import { offer as prepaidOffer } from './ledger-story.ts'
import type { Fair } from './market-story.ts'
import { creditTick, prepaidTick, signoff } from './objects.ts'
import { get, send } from './recorder.ts'

/** What the headers say is shown elsewhere. */
const BRIEF = { brief: ['payment-signature', 'payment-required', 'payment-response'] }

const pieces = `${cast.SELLER_URL}/v1/pieces/${toHex(cast.film.meta.infoHash)}`

const creditOffer: Offer = { ...prepaidOffer, extra: { ...prepaidOffer.extra, mode: 'credit' } }

function paid(index: number, accepted: Offer, payload: PaywordPayload): Request {
  const payment = encodePayment({ x402Version: X402_VERSION, accepted, payload })
  return get(`${pieces}/${index}`, { 'payment-signature': payment })
}

const lane = toHex(cast.prepaidId)
const commitment = envelopeToJson(cast.prepaid)
const prepaidPiece = (index: number, tick: Tick, first = false): Request =>
  paid(index, prepaidOffer, { lane, ...(first && { commitment }), tick: tickToJson(tick) })

const creditPiece = (index: number, tick?: Tick): Request =>
  paid(index, creditOffer, {
    lane: toHex(cast.onCreditId),
    ...(!tick && { commitment: envelopeToJson(cast.onCredit) }),
    ...(tick && { tick: tickToJson(tick) }),
  })

export async function buy(fair: Fair): Promise<void> {
  const { record, environment } = fair
  await environment.transport(
    send('POST', `${cast.LEDGER_URL}/v1/declarations`, { declaration: envelopeToJson(cast.declaration) }),
  )
  await record('agent.offer', get(pieces))
  const unpaid = await record('piece.unpaid', get(`${pieces}/0`))
  fair.keep('piece.required', json(JSON.parse(atob(unpaid.headers.get('payment-required') ?? ''))))
  await buyPrepaid(fair)
  await buyOnCredit(fair)
}

async function buyPrepaid({ record, keep, environment }: Fair): Promise<void> {
  const first = await record('piece.first', prepaidPiece(0, prepaidTick(1), true))
  keep(
    'piece.first-payment',
    json({
      x402Version: X402_VERSION,
      accepted: prepaidOffer,
      payload: { lane, commitment, tick: tickToJson(prepaidTick(1)) },
    }),
  )
  keep('piece.first-response', json(JSON.parse(atob(first.headers.get('payment-response') ?? ''))))
  await record('piece.second', prepaidPiece(1, prepaidTick(2)), BRIEF)
  await record('piece.replayed', prepaidPiece(2, prepaidTick(2)), BRIEF)
  await record('piece.skipped', prepaidPiece(2, prepaidTick(4)), BRIEF)
  for (let unit = 3; unit <= 6; unit++) await environment.transport(prepaidPiece(unit - 1, prepaidTick(unit)))
  await record('agent.signoff', send('POST', `${cast.SELLER_URL}/v1/signoffs`, { signoff: envelopeToJson(signoff) }))
}

async function buyOnCredit({ record }: Fair): Promise<void> {
  await record('credit.first', creditPiece(6), BRIEF)
  await record('credit.second', creditPiece(7, creditTick(1)), BRIEF)
  await record('agent.tick', send('POST', `${cast.SELLER_URL}/v1/ticks`, { tick: tickToJson(creditTick(2)) }))
}
