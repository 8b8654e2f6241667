/** How credits come into circulation at a ledger and leave it, beyond the faucet: each account remembers its own part. */
import { sha256 } from '#primitives'
import { equal, utf8, type Bytes } from '../bytes.ts'
import { field } from '../encoding.ts'
import { parseBuy, parseSell } from '../issuance.ts'
import { Problem } from '../problem.ts'
import type { Envelope } from '../signed.ts'
import { requireOwner } from './authority.ts'
import { requireHere } from './here.ts'
import { accounts, dictionary, keys, read, readKnown, shaped, write, type Movement, type Policy } from './items.ts'
import { move, once, type Step } from './step.ts'
import type { View } from './view.ts'

const references = dictionary(shaped({ order: field.bytes(32) }))

export function buy(envelope: Envelope): Step {
  const { account, amount, id, key, ledger, reference } = parseBuy(envelope)
  return once(id, async (view) => {
    requireIssuer(await requireHere(view, ledger, 'purchase'), key)
    await takeReference(view, reference, id)
    return [await circulate(view, account, 'bought', amount)]
  })
}

export function sell(byOwner: Envelope, byIssuer: Envelope): Step {
  const { account, amount, expires, id, issuerKey, ledger, ownerKey, reference } = parseSell(byOwner, byIssuer)
  return once(id, async (view, nowMs) => {
    requireIssuer(await requireHere(view, ledger, 'sale'), issuerKey)
    await requireOwner(view, account, ownerKey)
    if (nowMs >= expires) throw new Problem('expired', 'The offer to sell has expired.')
    await takeReference(view, reference, id)
    return [await circulate(view, account, 'sold', amount)]
  })
}

/** @throws Problem `forbidden` */
function requireIssuer({ issuer }: Policy, key: Bytes): void {
  if (!issuer || !equal(issuer, key)) throw new Problem('forbidden', 'The ledger’s issuer has not signed this.')
}

/** @throws Problem `conflict` when another order bears it */
async function takeReference(view: View, reference: string, order: Bytes): Promise<void> {
  const place = keys.reference(sha256(utf8(reference)))
  if (await read(view, references, place)) throw new Problem('conflict', 'Another order bears this reference.')
  write(view, references, place, { order })
}

/** What came in for an account is available to it; what goes out was. */
const IN = { bought: true, received: true, sold: false, sent: false } as const

/**
 * @returns the movement, which the account's balance still has to follow
 * @throws Problem `not-found`
 */
export async function circulate(view: View, id: Bytes, how: keyof typeof IN, amount: bigint): Promise<Movement> {
  const account = await readKnown(view, accounts, keys.account(id), 'account')
  write(view, accounts, keys.account(id), { ...account, [how]: (account[how] ?? 0n) + amount })
  return move(id, { available: IN[how] ? amount : -amount })
}

/** What was sent comes back. */
export async function takeBack(view: View, id: Bytes, amount: bigint): Promise<Movement> {
  const { sent = 0n, ...account } = await readKnown(view, accounts, keys.account(id), 'account')
  const rest = sent - amount
  write(view, accounts, keys.account(id), { ...account, ...(rest > 0n && { sent: rest }) })
  return move(id, { available: amount })
}
