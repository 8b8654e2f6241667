/** What those do who decide about a ledger: they need their key and its URL, and neither an agent nor a home. */
import { writeFile } from 'node:fs/promises'
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { Problem } from '../../../protocol/problem.ts'
import { signerFrom, type Signer } from '../../../protocol/signed.ts'
import type { OperatorClient } from '../../clients/operator-client.ts'
import { readKeyFile, sealKey } from '../../secret-file.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import type { Order } from '../order.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'

export const LEDGER_OPTIONS = { key: { type: 'string' }, ledger: { type: 'string' } } as const
const ORDER_OPTIONS = { ...LEDGER_OPTIONS, out: { type: 'string' } } as const
const KEY_BYTES = 32
/** Time for the others to sign. */
const USUAL_LEAD = '1h'

export const ledgerCommands: Commands = {
  'ledger key': {
    usage: 'FILE [--passphrase-file F]',
    summary:
      'Show the public key of a key in FILE, made where it is not there: for LEDGER_FEDERATION, LEDGER_ISSUER or LEDGER_AUTHORITY',
    takes: [1, 1],
    run: showKey,
  },
  'ledger price': {
    usage: 'CREDITS --key FILE [--in 1h] [--out ORDER] [--ledger URL]',
    summary: 'Set what a unit costs from then on; where several decide, ORDER is for the others to sign',
    options: { ...ORDER_OPTIONS, in: { type: 'string' } },
    takes: [1, 1],
    run: price,
  },
  'ledger peer': {
    usage: 'POLICY --limit CREDITS --key FILE [--out ORDER] [--ledger URL]',
    summary: 'Take up credits from the ledger whose log and witnesses the file POLICY names, up to a limit',
    options: { ...ORDER_OPTIONS, limit: { type: 'string' } },
    takes: [1, 1],
    run: peer,
  },
  'ledger order': {
    usage: 'ORDER [--key FILE] [--send] [--ledger URL]',
    summary: 'Show what an order says and who signed it; sign it too with a key, and send it to the ledger',
    options: { ...LEDGER_OPTIONS, send: { type: 'boolean' } },
    takes: [1, 1],
    run: order,
  },
  'ledger show': {
    usage: '[LEDGERURL]',
    summary: 'Show what a ledger says of itself: its verifier key, its price, who decides, which ledgers it trusts',
    takes: [0, 1],
    run: show,
  },
}

/** Loaded when they are asked for. */
const orders = () => import('../order.ts')

export const operatorOf = (call: Call): Promise<OperatorClient> => operatorAt(call, call.text('ledger'))

/** @param given the ledger of the settings unless given */
async function operatorAt(call: Call, given: string | undefined): Promise<OperatorClient> {
  const { url } = await call.ledger(given)
  const { createOperatorClient } = await import('../../clients/operator-client.ts')
  return createOperatorClient({ environment: call.environment, url })
}

export async function signerOf(call: Call): Promise<Signer> {
  const file = call.text('key')
  if (file === undefined) throw new UsageError('--key is needed: the file of the key that signs.')
  const key = await readKeyFile(call.resolvePath(file), await call.passphrase())
  if (!key) throw new Problem('not-found', `There is no key in ${file}: make one with \`raincheck ledger key\`.`)
  return signerFrom(key)
}

async function showKey(call: Call): Promise<Answer> {
  const path = call.resolvePath(call.args[0] as string)
  const passphrase = await call.passphrase()
  const there = await readKeyFile(path, passphrase)
  const secret = there ?? call.environment.random.bytes(KEY_BYTES)
  // Never over what is there: another may have come first.
  if (!there) await writeFile(path, await sealKey(secret, passphrase), { mode: 0o600, flag: 'wx', flush: true })
  const key = toHex(signerFrom(secret).key)
  return { json: { key, made: there === undefined }, text: key }
}

async function price(call: Call): Promise<Answer> {
  const unitPrice = creditsIn(call.args[0] as string)
  const lead = durationMs(call.text('in') ?? USUAL_LEAD)
  if (lead === undefined) throw new UsageError('--in takes a time such as 30m, 1h or 7d.')
  const { setPrice } = await import('../../../protocol/federation.ts')
  return begin(call, async (operator, signer) => {
    const { id, price: last } = await operator.government()
    const effective = call.environment.clock.now() + lead
    const terms = { effective, ledger: fromHex(id), seq: (last?.seq ?? 0) + 1, unitPrice }
    return { kind: 'price', signed: [setPrice(terms, signer)] }
  })
}

async function peer(call: Call): Promise<Answer> {
  const limit = call.credits('limit')
  if (limit === undefined)
    throw new UsageError('--limit is needed: how many credits may come from the other ledger beyond those sent there.')
  const policy = new TextDecoder().decode(await call.readFile(call.args[0] as string))
  const { readPeerPolicy, trustPeer } = await import('../../../protocol/federation.ts')
  const { sha256 } = await import('#primitives')
  const peerId = toHex(sha256(readPeerPolicy(policy).key.key))
  return begin(call, async (operator, signer) => {
    const { id } = await operator.government()
    const seq = ((await operator.peers()).find((one) => one.id === peerId)?.seq ?? 0) + 1
    return { kind: 'peer', signed: [trustPeer({ ledger: fromHex(id), limit: BigInt(limit), policy, seq }, signer)] }
  })
}

/** One who decides alone has it sent at once; of several, the first hands it on. */
async function begin(call: Call, make: (operator: OperatorClient, signer: Signer) => Promise<Order>): Promise<Answer> {
  const { missingFor, saveOrder } = await orders()
  const operator = await operatorOf(call)
  const made = await make(operator, await signerOf(call))
  const missing = missingFor(made, await operator.government())
  const out = call.text('out')
  if (out === undefined && missing > 0)
    throw new UsageError(`${missing} more signatures are needed: name a file for the other signers with --out.`)
  if (out === undefined) return answer(made, missing, await operator.order(made.kind, made.signed))
  await saveOrder(call.resolvePath(out), made)
  return answer(made, missing)
}

async function order(call: Call): Promise<Answer> {
  const { missingFor, readOrder, saveOrder, signOrder } = await orders()
  const path = call.resolvePath(call.args[0] as string)
  const operator = await operatorOf(call)
  const [found, government] = [readOrder(await call.readFile(path)), await operator.government()]
  const signs = call.text('key') !== undefined
  const now = signs ? signOrder(found, await signerOf(call)) : found
  const missing = missingFor(now, government)
  if (signs) await saveOrder(path, now)
  return answer(now, missing, call.flag('send') ? await operator.order(now.kind, now.signed) : undefined)
}

async function answer(made: Order, missing: number, id?: string): Promise<Answer> {
  const { tellOrder } = await orders()
  const { says, seq, signers } = tellOrder(made)
  const state = id === undefined ? `${signers.length} signed, ${missing} more have to` : 'the ledger has taken it'
  return {
    json: { kind: made.kind, seq, says, signers, missing, ...(id !== undefined && { id }) },
    text: [`${made.kind} order ${seq}: ${says}`, ...signers.map((key) => `signed by ${key}`), state].join('\n'),
  }
}

async function show(call: Call): Promise<Answer> {
  const operator = await operatorAt(call, call.args[0])
  const [government, peers] = [await operator.government(), await operator.peers()]
  const { faucet, federation, id, issuer, origin, price: last, unitPrice, vkey, witnesses } = government
  const toCome = last && last.effective > call.environment.clock.now() ? last : undefined
  const rows = [
    ['ledger', `${origin} at ${operator.url}`],
    ['id', id],
    ['verifier key', vkey],
    ['a unit', `${unitPrice}${toCome ? `; ${toCome.unitPrice} from ${timeText(toCome.effective)} on` : ''}`],
    ['a new account', `${faucet}${federation.authority === undefined ? '' : ', with a membership'}`],
    ...federation.keys.map((key) => ['decides', key]),
    ['majority', `${federation.majority} of ${federation.keys.length}`],
    ...(federation.authority === undefined ? [] : [['authority', federation.authority]]),
    ...(issuer === undefined ? [] : [['issuer', issuer]]),
    ...witnesses.map((witness) => ['witness', witness]),
    ...peers.map((one) => ['peer', `${one.id}, up to ${one.limit}: ${one.received} came from there, ${one.sent} went`]),
  ]
  return { json: toJson({ ...government, peers }), text: table(rows) }
}

/** Money is text in JSON. */
const toJson = (value: object): unknown =>
  JSON.parse(JSON.stringify(value, (_, member: unknown) => (typeof member === 'bigint' ? String(member) : member)))

export function creditsIn(text: string): bigint {
  if (/^(0|[1-9][0-9]{0,17})$/.test(text)) return BigInt(text)
  throw new UsageError(`'${text}' is not a whole number of credits.`)
}
