/** A ledger and a witness of its log, and a ledger that shows two histories: what they say, as examples. */
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createLedger } from '../../ledger/ledger.ts'
import { createWitness } from '../../ledger/witness/witness.ts'
import { formatVerifierKey, noteKey, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { signerFrom } from '../../protocol/signed.ts'
import type { Fork } from '../../protocol/breach.ts'
import { formatAddCheckpoint } from '../../protocol/witness-request.ts'
import * as cast from './cast.ts'
import { json, text, type Example } from './example.ts'
import { LEDGER_ORIGIN } from './ledger-story.ts'
import { createRecorder, get, send, type Recorder } from './recorder.ts'
import { envelopeToJson } from '../../protocol/signed.ts'

const WITNESS_URL = 'https://witness.example'
const WITNESS_NAME = 'witness.example/w1'
const WITNESS_SECRET = cast.bytesOf(8)

export function openWitness({ environment }: Pick<Recorder, 'environment'>) {
  const logs = [noteKey(LEDGER_ORIGIN, cast.ledgerSigner.key)]
  return createWitness({ environment, store: openSqlite(':memory:'), secret: WITNESS_SECRET, name: WITNESS_NAME, logs })
}

/** @param isWitnessed whether it asks the witness */
function openLedger(recorder: Recorder, isWitnessed: boolean) {
  const witness = formatVerifierKey(noteKey(WITNESS_NAME, signerFrom(WITNESS_SECRET).key, 'cosignature'))
  const place = { key: parseVerifierKey(witness, 'cosignature'), url: WITNESS_URL }
  return createLedger({
    environment: recorder.environment,
    store: openSqlite(':memory:'),
    secret: cast.bytesOf(cast.SECRETS.ledger),
    origin: LEDGER_ORIGIN,
    policy: { faucet: 1_000n, unitPrice: 1n },
    ...(isWitnessed && { witnesses: [place] }),
  })
}

const add = (oldSize: number, note: string): Request =>
  new Request(`${WITNESS_URL}/add-checkpoint`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: formatAddCheckpoint({ oldSize, proof: [], note }),
  })

export async function witnessExamples(): Promise<ReadonlyMap<string, Example>> {
  const recorder = createRecorder()
  const witness = openWitness(recorder)
  recorder.attach('witness.example', witness.app.fetch)
  const ledger = openLedger(recorder, true)
  recorder.attach('ledger.example', ledger.app.fetch)
  recorder.keep('witness.vkey', text(witness.verifierKey))
  recorder.keep('witness.policy', text(`witness W1 ${witness.verifierKey} ${WITNESS_URL}\nquorum W1`))

  recorder.watch('witness.first', 'POST', /add-checkpoint/)
  await ledger.sequence()
  recorder.clock.advance(1000)
  const register = send('POST', `${cast.LEDGER_URL}/v1/accounts`, {
    identity: envelopeToJson(cast.payer.operations[0]),
  })
  await recorder.environment.transport(register)
  recorder.watch('witness.next', 'POST', /add-checkpoint/)
  await ledger.sequence()
  await recorder.record('witness.checkpoint', get(`${cast.LEDGER_URL}/checkpoint`))
  const shown = await (await ledger.app.request('/checkpoint')).text()
  await recorder.record('witness.conflict', add(0, shown.slice(0, shown.indexOf('— witness'))))
  recorder.keep('breach.fork', json(await forkOf(recorder, shown.slice(0, shown.indexOf('— witness')))))
  return recorder.examples
}

/** The same ledger tells somebody else that it registered another owner first. */
async function forkOf(recorder: Recorder, seen: string): Promise<Fork> {
  const other = openLedger(recorder, false)
  const register = send('POST', `${cast.LEDGER_URL}/v1/accounts`, {
    identity: envelopeToJson(cast.friend.operations[0]),
  })
  await other.app.fetch(register)
  await other.sequence()
  const shown = await (await other.app.request('/checkpoint')).text()
  const vkey = formatVerifierKey(noteKey(LEDGER_ORIGIN, cast.ledgerSigner.key))
  return { kind: 'fork', vkey, notes: [seen, shown], proof: [] }
}
