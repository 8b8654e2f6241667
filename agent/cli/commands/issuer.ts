/** Credits for outside money: the ledger's issuer gives them, and takes those back that their owner gives up. */
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import { readSigned, saveSigned } from '../signed-file.ts'
import { timeText } from '../time-text.ts'
import { idOf } from '../words.ts'
import { creditsIn, LEDGER_OPTIONS, operatorOf, signerOf } from './ledger.ts'

const USUAL_OFFER = '7d'
const terms = () => import('../../../protocol/issuance.ts')

export const issuerCommands: Commands = {
  'ledger buy': {
    usage: 'ID CREDITS --reference TEXT --key FILE [--ledger URL]',
    summary:
      'As the issuer, give an account credits that were paid for outside; TEXT names the payment, and counts once',
    options: { ...LEDGER_OPTIONS, reference: { type: 'string' } },
    takes: [2, 2],
    run: buyCredits,
  },
  'ledger sell': {
    usage: 'SALE [--key FILE] [--ledger URL]',
    summary:
      'As the issuer, show what an owner gives up in the file SALE; with a key, take it out, and then pay for it',
    options: LEDGER_OPTIONS,
    takes: [1, 1],
    run: takeOut,
  },
}

export const saleCommands: Commands = {
  payout: {
    usage: 'CREDITS --reference TEXT --out SALE [--in 7d]',
    summary: 'Offer the ledger’s issuer credits for outside money: SALE is for the issuer, TEXT says how you are paid',
    options: { reference: { type: 'string' }, out: { type: 'string' }, in: { type: 'string' } },
    takes: [1, 1],
    run: payout,
  },
}

function referenceOf(call: Call): string {
  const reference = call.text('reference')
  if (reference !== undefined && reference !== '') return reference
  throw new UsageError('--reference is needed: a name for the payment, under which it counts only once.')
}

async function buyCredits(call: Call): Promise<Answer> {
  const [account, credits] = [idOf(call), call.args[1] as string]
  const [reference, amount] = [referenceOf(call), creditsIn(credits)]
  const { buy } = await terms()
  const [operator, signer] = [await operatorOf(call), await signerOf(call)]
  const ledger = fromHex((await operator.government()).id)
  const id = await operator.buy(buy({ account: fromHex(account), amount, ledger, reference }, signer))
  return {
    json: { id, account, amount: String(amount), reference },
    text: `${amount} credits are ${account}’s, for ${reference}.`,
  }
}

async function payout(call: Call): Promise<Answer> {
  const [reference, amount, out] = [referenceOf(call), creditsIn(call.args[0] as string), call.text('out')]
  const forMs = durationMs(call.text('in') ?? USUAL_OFFER)
  if (forMs === undefined) throw new UsageError('--in takes a time such as 30m, 1h or 7d.')
  if (out === undefined) throw new UsageError('--out is needed: the file to write for the issuer.')
  const { sell } = await terms()
  const [owner, signer, ledger] = [await call.owner(), await call.signer(), await call.ledger()]
  const expires = call.environment.clock.now() + forMs
  const sale = sell(
    { account: owner.id, amount, expires, ledger: fromHex((await ledger.info()).id), reference },
    signer,
  )
  await saveSigned(call.resolvePath(out), 'sell', sale)
  return {
    json: { account: toHex(owner.id), amount: String(amount), expires, reference },
    text: `Until ${timeText(expires)} the issuer may take ${amount} credits for ${reference}: hand it ${out}.`,
  }
}

async function takeOut(call: Call): Promise<Answer> {
  const { parseSell, sell } = await terms()
  const sale = await readSigned(call, call.args[0] as string, 'sell')
  const { account, amount, expires, ledger, reference } = parseSell(sale, sale)
  const told = { account: toHex(account), amount: String(amount), expires, reference }
  const says = `${told.account} gives up ${amount} credits for ${reference}, until ${timeText(expires)}`
  if (call.text('key') === undefined) return { json: told, text: says }
  const [operator, signer] = [await operatorOf(call), await signerOf(call)]
  const id = await operator.sell(sale, sell({ account, amount, expires, ledger, reference }, signer))
  return { json: { ...told, id }, text: `${says}\nthe ledger has taken them: pay for them now` }
}
