/** A ledger of a federation, and another that it trusts: who decides, how credits come, go and cross. */
import { proveEntry } from '../../agent/clients/carry.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { LedgerOptions } from '../../ledger/context.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { sha256 } from '#primitives'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { lock, mint, refund, type LockTerms } from '../../protocol/crossing.ts'
import { certify, setPrice, trustPeer, type PeerTerms } from '../../protocol/federation.ts'
import { buy, sell } from '../../protocol/issuance.ts'
import {
  envelopeFromJson,
  envelopeToJson,
  signerFrom,
  type Envelope,
  type EnvelopeJson,
} from '../../protocol/signed.ts'
import * as cast from './cast.ts'
import { signed, type Example } from './example.ts'
import { createRecorder, get, send, type Recorder } from './recorder.ts'

const OTHER_URL = 'https://other.example'
const HOUR_MS = 3_600_000
/** Three who decide, who admits, who sells, and the key of the other ledger. */
const [one, two, three, authority, issuer, other] = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16].map((byte) =>
  signerFrom(cast.bytesOf(byte)),
) as [Signer, Signer, Signer, Signer, Signer, Signer]
type Signer = ReturnType<typeof signerFrom>
const otherId = sha256(other.key)
const vkeyOf = (name: string, key: Signer['key']): string => formatVerifierKey(noteKey(name, key))

const { ledgerId: ledger, payee, payer, START_MS } = cast

const membership = certify({ expires: START_MS + 365 * cast.DAY_MS, issued: START_MS, member: payer.id }, authority)
const priceTerms = { effective: START_MS + cast.DAY_MS, ledger, seq: 1, unitPrice: 2n }
const peerTerms: PeerTerms = {
  ledger,
  limit: 5_000n,
  policy: `log ${vkeyOf('other.example/log', other.key)}\nquorum none\n`,
  seq: 1,
}
const bought = buy({ account: payer.id, amount: 500n, ledger, reference: 'pi_7Qm2' }, issuer)
const sellTerms = { account: payer.id, amount: 200n, expires: START_MS + cast.DAY_MS, ledger, reference: 'po_41Xc' }
const lockTerms: LockTerms = {
  amount: 40n,
  expires: START_MS + HOUR_MS,
  from: payer.id,
  ledger,
  nonce: cast.bytesOf(0xdd, 16),
  recipient: payee.id,
  target: otherId,
}
const sent = lock(lockTerms, payer.owner)
const late = lock({ ...lockTerms, nonce: cast.bytesOf(0xee, 16) }, payer.owner)

export async function federationExamples(): Promise<ReadonlyMap<string, Example>> {
  const recorder = createRecorder()
  const stage = open(recorder)
  for (const [name, kind, envelope] of [
    ['membership', 'membership', membership],
    ['price', 'price', setPrice(priceTerms, one)],
    ['peer', 'peer', trustPeer(peerTerms, one)],
    ['buy', 'buy', bought],
    ['sell', 'sell', sell(sellTerms, payer.owner)],
    ['lock', 'lock', sent],
  ] as const)
    keepAll(recorder, signed(name, kind, envelope))
  await decide(stage)
  await issue(stage)
  await cross(stage)
  return recorder.examples
}

interface Stage extends Recorder {
  readonly here: Ledger
  readonly there: Ledger
  /** A second later; both logs take up what comes. @param name of the example; none is kept without */
  readonly post: (url: string, body: unknown, name?: string) => Promise<{ receipt: EnvelopeJson }>
}

function open(recorder: Recorder): Stage {
  const { environment } = recorder
  const options = (secret: number, origin: string, policy: LedgerOptions['policy']): LedgerOptions => ({
    environment,
    store: openSqlite(':memory:'),
    secret: cast.bytesOf(secret),
    origin,
    policy,
  })
  const federation = { authority: authority.key, keys: [one.key, two.key, three.key] }
  const policy = { faucet: 1_000n, federation, issuer: issuer.key, unitPrice: 1n }
  const here = createLedger(options(cast.SECRETS.ledger, 'ledger.example/log', policy))
  const there = createLedger(options(0x16, 'other.example/log', { faucet: 0n, unitPrice: 1n }))
  recorder.attach('ledger.example', here.app.fetch)
  recorder.attach('other.example', there.app.fetch)
  return {
    ...recorder,
    here,
    there,
    async post(url, body, name) {
      recorder.clock.advance(1_000)
      const request = send('POST', url, body)
      const response = await (name ? recorder.record(name, request) : environment.transport(request))
      await Promise.all([here.sequence(), there.sequence()])
      return (await response.json()) as { receipt: EnvelopeJson }
    },
  }
}

const keepAll = ({ keep }: Recorder, examples: Readonly<Record<string, Example>>): void => {
  for (const [name, example] of Object.entries(examples)) keep(name, example)
}

const at = (path: string): string => cast.LEDGER_URL + path
const json = (...envelopes: Envelope[]): EnvelopeJson[] => envelopes.map(envelopeToJson)

async function decide({ post, record }: Stage): Promise<void> {
  const [identity, certificate] = json(payer.operations[0], membership)
  await post(at('/v1/accounts'), { identity, membership: certificate }, 'federation.register')
  const price = json(...[one, two].map((signer) => setPrice(priceTerms, signer)))
  await post(at('/v1/prices'), { price }, 'federation.price')
  await record('federation.info', get(at('/v1/ledger')))
  const peer = json(...[one, three].map((signer) => trustPeer(peerTerms, signer)))
  await post(at('/v1/peers'), { peer }, 'federation.peer')
  await record('federation.peers', get(at('/v1/peers')))
}

async function issue({ post }: Stage): Promise<void> {
  await post(at('/v1/purchases'), { buy: envelopeToJson(bought) }, 'issuance.buy')
  const [byOwner, byIssuer] = json(sell(sellTerms, payer.owner), sell(sellTerms, issuer))
  await post(at('/v1/sales'), { sell: byOwner, issuer: byIssuer }, 'issuance.sell')
}

async function cross(stage: Stage): Promise<void> {
  const { clock, environment, post, record } = stage
  const [home, target] = [cast.LEDGER_URL, OTHER_URL].map((url) => createLedgerClient({ environment, url })) as [
    ReturnType<typeof createLedgerClient>,
    ReturnType<typeof createLedgerClient>,
  ]
  const order = {
    ledger: otherId,
    limit: 5_000n,
    policy: `log ${vkeyOf('ledger.example/log', cast.ledgerSigner.key)}\nquorum none\n`,
    seq: 1,
  }
  await post(`${OTHER_URL}/v1/peers`, { peer: json(trustPeer(order, other)) })
  await post(`${OTHER_URL}/v1/accounts`, { identity: envelopeToJson(payee.operations[0]) })
  const { receipt } = await post(at('/v1/locks'), { lock: envelopeToJson(sent) }, 'crossing.lock')
  const minted = mint(await proveEntry(home, envelopeFromJson(receipt)), payee.agent)
  keepAll(stage, signed('mint', 'mint', minted))
  const { lock: id } = (await post(
    `${OTHER_URL}/v1/mints`,
    { mint: envelopeToJson(minted) },
    'crossing.mint',
  )) as unknown as {
    lock: string
  }
  await record('crossing.lock-here', get(at(`/v1/locks/${id}`)))
  await record('crossing.lock-there', get(`${OTHER_URL}/v1/locks/${id}`))
  await post(at('/v1/locks'), { lock: envelopeToJson(late) })
  clock.advance(HOUR_MS)
  const declined = await post(`${OTHER_URL}/v1/declines`, { lock: envelopeToJson(late) }, 'crossing.decline')
  const back = refund(await proveEntry(target, envelopeFromJson(declined.receipt)), payer.agent)
  keepAll(stage, signed('refund', 'refund', back))
  await post(at('/v1/refunds'), { refund: envelopeToJson(back) }, 'crossing.refund')
}
