/**
 * The ledger as an agent sees it. Ids and hashes are hex and money is `bigint`. Receipts are checked against the
 * ledger's key before they are handed back; whoever calls keeps them.
 */
import { z } from '@hono/zod-openapi'
import { sha256 } from '#primitives'
import { fromBase64url, fromHex, fromUtf8, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { count } from '../../protocol/route.ts'
import { wire } from '../../protocol/service.ts'
import { envelopeToJson, type Envelope } from '../../protocol/signed.ts'
import { createHttpClient, money, signed } from './http-client.ts'

const base64url = wire.base64url.transform((text) => fromBase64url(text))
const receipt = signed('receipt')

const infoShape = z.object({
  id: wire.id,
  origin: z.string(),
  /** ed25519 public key, hex; the id is its SHA-256. */
  key: wire.id,
  /** The key as C2SP's signed-note writes it. */
  vkey: z.string(),
  network: z.string(),
  unitPrice: money,
  /** The last order of a unit price. */
  price: z.object({ seq: count, unitPrice: money, effective: wire.time }).optional(),
  faucet: money,
  mergeDelayMs: count,
  /** How many the log is in, where it is not one. */
  shards: count.min(2).max(limits.logShards).optional(),
})
const accountShape = z.object({
  id: wire.id,
  keys: z.array(wire.id),
  available: money,
  frozen: money,
  earned: money,
  /** What it put up for sealed lanes to it. */
  bonds: money,
  declarations: z.array(wire.id),
  lanes: z.array(wire.id),
})
const declarationShape = z.object({
  declaration: signed('declaration'),
  /** Units. */
  unclaimed: count,
  openLanes: count,
  closed: z.boolean(),
})
const claimShape = z.object({ lane: wire.id, declaration: signed('declaration'), receipt })
const laneShape = z.object({
  declaration: wire.id,
  commitment: signed('commitment'),
  payer: wire.id,
  payee: wire.id,
  /** The key that claimed it. */
  claimer: wire.id,
  /** Of a sealed lane: K(0), the bond, the key of the last unit redeemed. */
  sealed: z.object({ anchor: wire.id, bond: money, key: wire.id }).optional(),
  first: count,
  cap: count,
  redeemed: count,
  unitPrice: money,
  expires: wire.time,
  disputeWindow: count,
  closed: z.boolean(),
})
const redemptionShape = z.object({ lane: wire.id, unit: count, amount: money, receipt })
const releaseShape = z.object({ returned: money, swept: money, receipt })
const disputeShape = z.object({ lane: wire.id, bond: money, receipt })
const receiptShape = z.object({ receipt })
const lockReceiptShape = z.object({ lock: wire.id, receipt })
const idReceiptShape = z.object({ id: wire.id, receipt })
const lockStateShape = z.object({
  sent: z
    .object({ amount: money, expires: wire.time, from: wire.id, target: wire.id, refunded: z.boolean() })
    .optional(),
  arrived: z.enum(['mint', 'decline']).optional(),
})
const operationsShape = z.object({ operations: z.array(z.object({ operation: signed('identity'), at: wire.time })) })
const entryShape = z.object({ index: count, entry: base64url, hash: wire.id, size: count, proof: z.array(wire.id) })
const statementRow = z.object({
  index: count,
  kind: z.string(),
  time: wire.time,
  /** Leaf hash. */
  entry: wire.id,
  available: wire.difference,
  frozen: wire.difference,
  earned: wire.difference,
  bonds: wire.difference,
})
const statementShape = z.object({ entries: z.array(statementRow) })

export type LedgerInfo = z.output<typeof infoShape>
export type LedgerPrices = Pick<LedgerInfo, 'price' | 'unitPrice'>
export type LedgerAccount = z.output<typeof accountShape>
export type LedgerDeclaration = z.output<typeof declarationShape>
export type LedgerClaim = z.output<typeof claimShape>
export type LedgerLane = z.output<typeof laneShape>
export type LedgerRedemption = z.output<typeof redemptionShape>
export type LedgerRelease = z.output<typeof releaseShape>
export type LedgerDispute = z.output<typeof disputeShape>
export type StatementRow = z.output<typeof statementRow>
export type LedgerLock = z.output<typeof lockStateShape>
export type LedgerOperations = z.output<typeof operationsShape>['operations']
export type LedgerEntry = z.output<typeof entryShape>

/** Every method throws the ledger's own problem (`lane-taken`, `funds-insufficient`, …), or `peer-failed`. */
export interface LedgerClient {
  readonly url: string
  /** Asked once; its id is checked against its key. */
  info(): Promise<LedgerInfo>
  /** The unit price and its last order, asked anew; those of `info` where the ledger does not answer. */
  prices(): Promise<LedgerPrices>
  /** @param membership where the ledger's federation asks for one */
  register(identity: Envelope, membership?: Envelope): Promise<{ id: string; receipt: Envelope }>
  rotate(identity: Envelope): Promise<{ receipt: Envelope }>
  delegate(delegation: Envelope): Promise<{ receipt: Envelope }>
  account(id: string): Promise<LedgerAccount>
  /** What each entry of the log, or of one shard, moved on an account, the oldest first: a page of those after an index. */
  entries(account: string, after?: number, shard?: number): Promise<{ entries: readonly StatementRow[] }>
  declare(declaration: Envelope): Promise<{ id: string; receipt: Envelope }>
  declaration(id: string): Promise<LedgerDeclaration>
  claim(commitment: Envelope, claim: Envelope): Promise<LedgerClaim>
  lane(id: string): Promise<LedgerLane>
  redeem(redemption: Envelope): Promise<LedgerRedemption>
  /** @param signoff the payer's, with which the payee releases a sealed lane early */
  release(release: Envelope, signoff?: Envelope): Promise<LedgerRelease>
  /** @returns the lane and its bond, which is the payer's now */
  dispute(label: Envelope, dispute: Envelope): Promise<LedgerDispute>
  transfer(transfer: Envelope): Promise<{ receipt: Envelope }>
  /** The identity's operations in force, with when the ledger took each, in milliseconds. */
  operations(id: string): Promise<LedgerOperations>
  /** Sends credits to another ledger (`crossing.ts`). */
  lock(lock: Envelope): Promise<{ id: string; receipt: Envelope }>
  lockState(id: string): Promise<LedgerLock>
  mint(mint: Envelope): Promise<{ lock: string; receipt: Envelope }>
  decline(lock: Envelope): Promise<{ lock: string; receipt: Envelope }>
  refund(refund: Envelope): Promise<{ lock: string; receipt: Envelope }>
  /** The signed note (C2SP tlog-checkpoint), as served: whoever audits opens it with `vkey`. */
  checkpoint(): Promise<string>
  /** @param path as C2SP tlog-tiles names it, such as `tile/0/000` */
  tile(path: string): Promise<Bytes>
  /** @param shard of a log in shards, whose entry; one of the root log unless given */
  entry(index: number, shard?: number): Promise<LedgerEntry>
}

export interface LedgerClientOptions {
  readonly environment: Environment
  /** Without a trailing slash. */
  readonly url: string
}

export function createLedgerClient({ environment, url }: LedgerClientOptions): LedgerClient {
  const http = createHttpClient(environment, url)
  let known: Promise<LedgerInfo> | undefined

  function info(): Promise<LedgerInfo> {
    known ??= askInfo().catch((error: unknown) => {
      known = undefined
      throw error
    })
    return known
  }

  async function askInfo(): Promise<LedgerInfo> {
    const answer = await http.json({ method: 'GET', path: '/v1/ledger' }, infoShape)
    if (toHex(sha256(fromHex(answer.key))) !== answer.id)
      throw new Problem('peer-failed', `The id that ${url} gives is not that of its key.`)
    return answer
  }

  async function prices(): Promise<LedgerPrices> {
    const last = await known?.catch(unlessBug)
    return askInfo().catch((error: unknown) => {
      if (last) return last
      throw error
    })
  }

  const get = <T>(path: string, shape: z.ZodType<T>): Promise<T> => http.json({ method: 'GET', path }, shape)

  /** Sends signed objects; the answer counts only with a receipt of this ledger. */
  async function post<T extends { receipt: Envelope }>(
    path: string,
    objects: Readonly<Record<string, Envelope>>,
    shape: z.ZodType<T>,
  ): Promise<T> {
    const json = Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, envelopeToJson(object)]))
    const answer = await http.json({ method: 'POST', path, json }, shape)
    checkReceipt(await info(), answer.receipt)
    return answer
  }

  return {
    url,
    info,
    prices,
    register: (identity, membership) =>
      post('/v1/accounts', { identity, ...(membership && { membership }) }, idReceiptShape),
    rotate: (identity) => post('/v1/rotations', { identity }, receiptShape),
    delegate: (delegation) => post('/v1/delegations', { delegation }, receiptShape),
    account: (id) => get(`/v1/accounts/${id}`, accountShape),
    async entries(account, after, shard) {
      const query = new URLSearchParams({
        ...(after !== undefined && { after: `${after}` }),
        ...(shard !== undefined && { shard: `${shard}` }),
      })
      const path = `/v1/accounts/${account}/entries${query.size > 0 ? `?${query}` : ''}`
      const answer = await get(path, statementShape)
      // Whoever reads page after page comes to an end.
      if (!ascends(answer.entries, after))
        throw new Problem('peer-failed', `The statement from ${url} does not go on after the entries already read.`)
      return answer
    },
    declare: (declaration) => post('/v1/declarations', { declaration }, idReceiptShape),
    declaration: (id) => get(`/v1/declarations/${id}`, declarationShape),
    claim: (commitment, claim) => post('/v1/claims', { commitment, claim }, claimShape),
    lane: (id) => get(`/v1/lanes/${id}`, laneShape),
    redeem: (redemption) => post('/v1/redemptions', { redemption }, redemptionShape),
    release: (release, signoff) => post('/v1/releases', { release, ...(signoff && { signoff }) }, releaseShape),
    dispute: (label, dispute) => post('/v1/disputes', { label, dispute }, disputeShape),
    transfer: (transfer) => post('/v1/transfers', { transfer }, receiptShape),
    operations: async (id) => (await get(`/v1/accounts/${id}/operations`, operationsShape)).operations,
    lock: (lock) => post('/v1/locks', { lock }, idReceiptShape),
    lockState: (id) => get(`/v1/locks/${id}`, lockStateShape),
    mint: (mint) => post('/v1/mints', { mint }, lockReceiptShape),
    decline: (lock) => post('/v1/declines', { lock }, lockReceiptShape),
    refund: (refund) => post('/v1/refunds', { refund }, lockReceiptShape),
    checkpoint: async () => fromUtf8(await http.bytes({ method: 'GET', path: '/checkpoint' })),
    tile: (path) => http.bytes({ method: 'GET', path: `/${path}` }),
    entry: (index, shard) => get(`/v1/entries/${index}${shard === undefined ? '' : `?shard=${shard}`}`, entryShape),
  }
}

const ascends = (rows: readonly StatementRow[], after = -1): boolean =>
  rows.every(({ index }, i) => index > (rows[i - 1]?.index ?? after))

/** @throws Problem `peer-failed` */
export function checkReceipt(ledger: LedgerInfo, receipt: Envelope): void {
  const genuine = toHex(receipt.key) === ledger.key && toHex(parseReceipt(receipt).ledger) === ledger.id
  if (!genuine) throw new Problem('peer-failed', 'The receipt is not signed by the ledger.')
}

/** A row of a statement; of a log in shards, with the shard that the index is in. */
export type PlacedRow = StatementRow & { readonly shard?: number }

/** All pages of an account's statement, the oldest first. */
export async function statementOf(ledger: LedgerClient, account: string): Promise<PlacedRow[]> {
  const { shards } = await ledger.info()
  if (shards === undefined) return rowsOf(ledger, account)
  const all = await Promise.all(
    Array.from({ length: shards }, async (_, shard) =>
      (await rowsOf(ledger, account, shard)).map((row) => ({ ...row, shard })),
    ),
  )
  return all.flat().toSorted((a, b) => a.time - b.time)
}

async function rowsOf(ledger: LedgerClient, account: string, shard?: number): Promise<StatementRow[]> {
  const rows: StatementRow[] = []
  for (;;) {
    const { entries } = await ledger.entries(account, rows.at(-1)?.index, shard)
    if (entries.length === 0) return rows
    rows.push(...entries)
  }
}
