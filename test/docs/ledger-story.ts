/** A ledger from its first entry to a settled download, as its callers see it. */
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger, type Ledger } from '../../ledger/ledger.ts'
import { fromBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { commit } from '../../protocol/commitment.ts'
import { tickToJson } from '../../protocol/payword.ts'
import { claim as claimLane, redeem } from '../../protocol/settlement.ts'
import { envelopeFromJson, envelopeToJson, objectId, type Envelope, type EnvelopeJson } from '../../protocol/signed.ts'
import { decodeBundle } from '../../protocol/tile.ts'
import { formatOffer, networkOf, X402_VERSION, type PaymentPayload } from '../../protocol/x402.ts'
import * as cast from './cast.ts'
import { bencode, signed, type Example } from './example.ts'
import * as objects from './objects.ts'
import { createRecorder, get, send, type Recorder } from './recorder.ts'

export const LEDGER_ORIGIN = 'ledger.example/log'
const SECOND_MS = 1_000

export const openLedger = ({ environment }: Recorder): Ledger =>
  createLedger({
    environment,
    store: openSqlite(':memory:'),
    secret: cast.bytesOf(cast.SECRETS.ledger),
    origin: LEDGER_ORIGIN,
    policy: { faucet: 1_000n, unitPrice: 1n },
  })

export const offer = formatOffer({
  mode: 'prepaid',
  content: cast.film.meta.infoHash,
  price: cast.PRICE,
  payee: cast.payee.id,
  unitBytes: cast.PIECE_BYTES,
  segmentMax: 64,
  ledgerUrl: cast.LEDGER_URL,
  network: networkOf(cast.ledgerId),
  maxTimeoutSeconds: 60,
})

interface Stage extends Recorder {
  readonly ledger: Ledger
  /** A second later, sends signed objects; the log takes them up. @param name of the example; none is kept without */
  readonly post: (path: string, objects: Readonly<Record<string, Envelope>>, name?: string) => Promise<unknown>
  readonly ask: (name: string, path: string) => Promise<Response>
}

export async function ledgerExamples(): Promise<ReadonlyMap<string, Example>> {
  const recorder = createRecorder()
  const ledger = openLedger(recorder)
  recorder.attach('ledger.example', ledger.app.fetch)
  const stage: Stage = {
    ...recorder,
    ledger,
    ask: (name, path) => recorder.record(name, get(cast.LEDGER_URL + path)),
    async post(path, parts, name) {
      recorder.clock.advance(SECOND_MS)
      const body = Object.fromEntries(Object.entries(parts).map(([part, envelope]) => [part, envelopeToJson(envelope)]))
      const request = send('POST', cast.LEDGER_URL + path, body)
      const response = await (name === undefined
        ? recorder.environment.transport(request)
        : recorder.record(name, request))
      await ledger.sequence()
      return response.json()
    },
  }
  await openAccounts(stage)
  await settle(stage)
  await facilitate(stage)
  await close(stage)
  await readLog(stage)
  await refuse(stage)
  return recorder.examples
}

async function openAccounts({ ask, post }: Stage): Promise<void> {
  await ask('ledger.info', '/v1/ledger')
  await post('/v1/accounts', { identity: cast.payer.operations[0] }, 'ledger.register')
  await post('/v1/accounts', { identity: cast.payee.operations[0] })
  await post('/v1/accounts', { identity: cast.friend.operations[0] })
  await post('/v1/delegations', { delegation: cast.payer.delegation }, 'ledger.delegate')
  await post('/v1/delegations', { delegation: cast.payee.delegation })
}

async function settle({ ask, keep, post }: Stage): Promise<void> {
  const { receipt } = (await post('/v1/declarations', { declaration: cast.declaration }, 'ledger.declare')) as {
    receipt: EnvelopeJson
  }
  for (const [name, example] of Object.entries(signed('receipt', 'receipt', envelopeFromJson(receipt))))
    keep(name, example)
  await post('/v1/claims', { commitment: cast.prepaid, claim: objects.claim }, 'ledger.claim')
  await ask('ledger.declaration', `/v1/declarations/${toHex(cast.declarationId)}`)
  await post('/v1/claims', doubleIssue(), 'ledger.lane-taken')
  await post('/v1/redemptions', { redemption: objects.redemption }, 'ledger.redeem')
  await ask('ledger.lane', `/v1/lanes/${toHex(cast.prepaidId)}`)
}

/** The same segments, promised to somebody else. */
function doubleIssue(): Record<'commitment' | 'claim', Envelope> {
  const { id, owner } = cast.friend
  const commitment = commit({ ...cast.prepaidLane, payee: id }, cast.payer.agent)
  return { commitment, claim: claimLane({ commitment: objectId('commitment', commitment.body), payee: id }, owner) }
}

const paymentOf = (payload: PaymentPayload['payload']): PaymentPayload => ({
  x402Version: X402_VERSION,
  accepted: offer,
  payload,
})

async function facilitate({ ask, record, ledger, clock }: Stage): Promise<void> {
  await ask('facilitator.supported', '/supported')
  const lane = toHex(cast.prepaidId)
  const payload = {
    lane,
    commitment: envelopeToJson(cast.prepaid),
    tick: tickToJson({ ...objects.prepaidTick(4), proof: cast.chain.proof(1) }),
  }
  const payment = { x402Version: X402_VERSION, paymentPayload: paymentOf(payload), paymentRequirements: offer }
  await record('facilitator.verify', send('POST', `${cast.LEDGER_URL}/verify`, payment))
  const body = {
    lane: cast.prepaidId,
    link: cast.chain.link(1, 4),
    payee: cast.payee.id,
    proof: cast.chain.proof(1),
    unit: 4,
  }
  const redemption = envelopeToJson(redeem(body, cast.payee.agent))
  clock.advance(SECOND_MS)
  const settlement = { ...payment, paymentPayload: { ...payment.paymentPayload, payload: { ...payload, redemption } } }
  await record('facilitator.settle', send('POST', `${cast.LEDGER_URL}/settle`, settlement))
  await ledger.sequence()
}

async function close({ ask, post, ledger }: Stage): Promise<void> {
  await ask('ledger.account', `/v1/accounts/${toHex(cast.payer.id)}`)
  await post('/v1/releases', { release: objects.releaseLane }, 'ledger.release-lane')
  await post('/v1/releases', { release: objects.releaseRest }, 'ledger.release-rest')
  await post('/v1/releases', { release: objects.releaseLaneByPayer }, 'ledger.closed')
  await post('/v1/disputes', { label: objects.falseLabel, dispute: objects.accusation }, 'ledger.dispute')
  await post('/v1/transfers', { transfer: objects.transfer }, 'ledger.transfer')
  await post('/v1/rotations', { identity: objects.rotation }, 'ledger.rotate')
  await ask('ledger.operations', `/v1/accounts/${toHex(cast.payer.id)}/operations`)
  await ask('ledger.entries', `/v1/accounts/${toHex(cast.payee.id)}/entries?after=6&limit=3`)
  await ledger.attest()
}

const ENTRIES = { policy: 0, redeem: 8, state: 14 } as const

async function readLog({ ask, keep }: Stage): Promise<void> {
  const note = await (await ask('log.checkpoint', '/checkpoint')).text()
  const size = Number(note.split('\n')[1])
  await ask('log.tile', `/tile/0/000.p/${size}`)
  const bundle = new Uint8Array(await (await ask('log.bundle', `/tile/entries/000.p/${size}`)).arrayBuffer())
  const entries = decodeBundle(bundle, size)
  for (const [name, index] of Object.entries(ENTRIES)) keep(`entry.${name}`, bencode(entries[index] as Bytes))
  const proven = (await (await ask('log.entry', `/v1/entries/${ENTRIES.redeem}`)).json()) as { entry: string }
  if (toHex(fromBase64url(proven.entry)) !== toHex(entries[ENTRIES.redeem] as Bytes)) throw new Error('another entry')
}

async function refuse({ ask }: Stage): Promise<void> {
  await ask('problem.bad-request', '/v1/accounts/not-hex')
  await ask('problem.method', '/v1/claims')
}
