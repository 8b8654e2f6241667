/**
 * Entry points of the ledger on Lambda: `url` behind its function URL, `chores` on a schedule, `setup` when the stack
 * comes and goes. LEDGER_STORE names the table, LEDGER_KEY_PARAMETER the parameter with the key, LEDGER_ORIGIN the log.
 * LEDGER_WITNESSES is the policy itself, as there are no files here; LEDGER_TILES and LEDGER_REPLICA, an
 * object of a bucket (s3://BUCKET/KEY), are set for the chores alone, LEDGER_BUCKET_TO_EMPTY for what goes with its stack. What is for a new log stands in infra/ledger-settings.ts.
 */
import { realEnvironment } from '../infra/environment.ts'
import { customResource } from '../infra/lambda/custom-resource.ts'
import { replicaPlace, withReplica } from '../infra/lambda/bucket-replica.ts'
import { emptyBucket } from '../infra/lambda/empty-bucket.ts'
import { functionUrl, type LambdaStreaming } from '../infra/lambda/function-url.ts'
import { once } from '../infra/lambda/once.ts'
import { deleteParameterKey, openParameterKey, requireParameterKey } from '../infra/lambda/parameter-key.ts'
import { policyText } from '../infra/lambda/policy-setting.ts'
import { ledgerPolicy } from '../infra/ledger-settings.ts'
import { openObjects } from '../infra/objects.ts'
import { settings } from '../infra/service-process.ts'
import { stdoutLines } from '../infra/stdout-lines.ts'
import { openStore } from '../infra/store/open.ts'
import { witnessPlaces } from '../infra/witness-places.ts'
import { formatVerifierKey, noteKey } from '../protocol/checkpoint.ts'
import { limits } from '../protocol/limits.ts'
import { signerFrom } from '../protocol/signed.ts'
import type { LedgerOptions } from './context.ts'
import { createLedger } from './ledger.ts'
import { waitingSince } from './oldest.ts'

declare const awslambda: LambdaStreaming

const environment = realEnvironment()
const set = settings(process.env)
const log = stdoutLines(environment.clock, set.optional('STACK_NAME', ''))

/** Rounds are a minute apart. */
const LATE_MS = 90_000
/** Well within the function's time: the replica has to be put back. */
const REPLAY_MS = 4 * 60_000

const keyName = (): string => set.required('LEDGER_KEY_PARAMETER')

const options = once(async (): Promise<LedgerOptions> => {
  const secret = await requireParameterKey(keyName())
  const tiles = set.optional('LEDGER_TILES', '')
  return {
    environment,
    store: await openStore(set.required('LEDGER_STORE'), { writeMs: limits.ledgerWriteMs }),
    secret,
    origin: set.required('LEDGER_ORIGIN'),
    policy: ledgerPolicy(set),
    witnesses: witnessPlaces(policyText(set.optional('LEDGER_WITNESSES', '')), 'LEDGER_WITNESSES'),
    ...(tiles !== '' && { objects: await openObjects(tiles) }),
    // A function that has answered does nothing until it is called again.
    sequencesWhenAsked: true,
    onFault: log.fault,
  }
})

const open = once(async () => createLedger(await options()))

/** What a request leaves waiting is sequenced by the next question about the log, or by the next chores. */
export const url = functionUrl(async () => (await open()).app.fetch, awslambda, log)

/** @param task each on a schedule of its own */
export async function chores({ task }: { readonly task: 'sequence' | 'attest' }): Promise<void> {
  if (task === 'sequence') await sequence()
  else await attest(set.optional('LEDGER_REPLICA', ''))
}

/** What should have been in the log since the last round is told of before this one is tried. */
async function sequence(): Promise<void> {
  const ledger = await open()
  const sinceMs = await waitingSince((await options()).store)
  if (sinceMs !== undefined) log.waits(environment.clock.now() - sinceMs, LATE_MS)
  await ledger.sequence()
}

/** @param replica where it is kept; else the log is replayed from its start */
async function attest(replica: string): Promise<void> {
  const untilMs = environment.clock.now() + REPLAY_MS
  if (replica === '') return (await open()).attest(untilMs)
  const known = await options()
  await withReplica(replicaPlace(replica), (replicaStore) => createLedger({ ...known, replicaStore }).attest(untilMs))
}

export const setup = customResource(
  environment,
  {
    /** The log begins with the stack. */
    async arrive() {
      await openParameterKey(keyName(), environment.random)
      await (await open()).sequence()
      const { origin, secret } = await options()
      return { VerifierKey: formatVerifierKey(noteKey(origin, signerFrom(secret).key)) }
    },
    /** The key first: what comes late then puts nothing into the bucket. */
    async leave() {
      await deleteParameterKey(keyName())
      const bucket = set.optional('LEDGER_BUCKET_TO_EMPTY', '')
      if (bucket !== '') await emptyBucket(bucket)
    },
  },
  log.fault,
)
