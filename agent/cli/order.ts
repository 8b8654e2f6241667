/**
 * An order about a ledger on its way from key to key: a file that holds what the ledger is to be sent, signed by those who
 * have signed so far. It is public, and may be passed on in any way.
 */
import { toHex } from '../../protocol/bytes.ts'
import { parsePeer, parsePrice } from '../../protocol/federation.ts'
import { Problem } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, seal, type Envelope, type Signer } from '../../protocol/signed.ts'
import { decode } from '../../protocol/encoding.ts'
import type { Government, OrderKind } from '../clients/operator-client.ts'
import { saveFile } from '../save-file.ts'
import { parseJsonFile } from './json-file.ts'
import { timeText } from './time-text.ts'

export interface Order {
  readonly kind: OrderKind
  /** The same body, by each that has signed. */
  readonly signed: readonly Envelope[]
}

/** What an order says; keys and ids are hex. */
export interface OrderTold {
  readonly ledger: string
  readonly seq: number
  /** In words. */
  readonly says: string
  readonly signers: readonly string[]
}

/** @throws Problem `bad-signature`, `bad-encoding`, `bad-request` as the ledger would */
export function tellOrder({ kind, signed }: Order): OrderTold {
  if (kind === 'price') {
    const { keys, terms } = parsePrice(signed)
    const says = `a unit costs ${terms.unitPrice} from ${timeText(terms.effective)} on`
    return { ledger: toHex(terms.ledger), seq: terms.seq, says, signers: keys.map(toHex) }
  }
  const { keys, log, terms } = parsePeer(signed)
  const says = `up to ${terms.limit} credits are taken up from ${log.key.name}`
  return { ledger: toHex(terms.ledger), seq: terms.seq, says, signers: keys.map(toHex) }
}

/** Signs what is there. @throws Problem `conflict` when the key has signed already */
export function signOrder(order: Order, signer: Signer): Order {
  const [first] = order.signed
  if (!first) throw new Problem('bad-request', 'There is nothing to sign.')
  if (tellOrder(order).signers.includes(toHex(signer.key)))
    throw new Problem('conflict', 'This key has signed the order already.')
  return { ...order, signed: [...order.signed, seal(order.kind, decode(first.body), signer)] }
}

/** @returns how many have still to sign. @throws Problem `unknown-key` when a signer does not decide at the ledger, `wrong-ledger` */
export function missingFor(order: Order, { federation, id }: Government): number {
  const { ledger, signers } = tellOrder(order)
  if (ledger !== id) throw new Problem('wrong-ledger', 'The order is for another ledger.')
  const stranger = signers.find((key) => !federation.keys.includes(key))
  if (stranger !== undefined)
    throw new Problem('unknown-key', `${stranger} is not among the keys that decide about this ledger.`)
  return Math.max(0, federation.majority - signers.length)
}

/** @throws Problem `bad-encoding`, `bad-signature` */
export function readOrder(content: Uint8Array): Order {
  const [[kind, list] = [], ...others] = Object.entries((parseJsonFile(content) ?? {}) as Record<string, unknown>)
  if ((kind !== 'price' && kind !== 'peer') || others.length > 0 || !Array.isArray(list) || list.length === 0)
    throw new Problem('bad-encoding', 'The file holds no order about a ledger.')
  const order: Order = { kind, signed: list.map((one) => envelopeFromJson(one, kind)) }
  tellOrder(order)
  return order
}

export async function saveOrder(path: string, { kind, signed }: Order): Promise<void> {
  await saveFile(path, `${JSON.stringify({ [kind]: signed.map(envelopeToJson) }, null, 2)}\n`)
}
