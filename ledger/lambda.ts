/**
 * Entry points of the ledger on Lambda: `url` behind its function URL, `chores` on a schedule, `setup` when the stack
 * comes and goes. LEDGER_STORE names the table, LEDGER_KEY_PARAMETER the parameter with the key, LEDGER_ORIGIN the log.
 * LEDGER_WITNESSES is the policy itself, as there are no files here; LEDGER_TILES is set for the chores alone. What is for a
 * new log stands in infra/ledger-settings.ts.
 */
import { realEnvironment } from '../infra/environment.ts'
import { customResource } from '../infra/lambda/custom-resource.ts'
import { functionUrl, type LambdaStreaming } from '../infra/lambda/function-url.ts'
import { once } from '../infra/lambda/once.ts'
import { deleteParameterKey, openParameterKey } from '../infra/lambda/parameter-key.ts'
import { ledgerPolicy } from '../infra/ledger-settings.ts'
import { openObjects } from '../infra/objects.ts'
import { settings } from '../infra/service-process.ts'
import { stdoutLines } from '../infra/stdout-lines.ts'
import { openStore } from '../infra/store/open.ts'
import { witnessPlaces } from '../infra/witness-places.ts'
import { createLedger } from './ledger.ts'

declare const awslambda: LambdaStreaming

const environment = realEnvironment()
const set = settings(process.env)
const log = stdoutLines(environment.clock, set.optional('STACK_NAME', ''))

const open = once(async () => {
  const secret = await openParameterKey(set.required('LEDGER_KEY_PARAMETER'), environment.random)
  const tiles = set.optional('LEDGER_TILES', '')
  return createLedger({
    environment,
    store: await openStore(set.required('LEDGER_STORE')),
    secret,
    origin: set.required('LEDGER_ORIGIN'),
    policy: ledgerPolicy(set),
    witnesses: witnessPlaces(set.optional('LEDGER_WITNESSES', ''), 'LEDGER_WITNESSES'),
    ...(tiles !== '' && { objects: await openObjects(tiles) }),
    // A function that has answered does nothing until it is called again.
    sequencesWhenAsked: true,
    onFault: log.fault,
  })
})

/** What a request leaves waiting is sequenced by the next question about the log, or by the next chores. */
export const url = functionUrl(async () => (await open()).app.fetch, awslambda, log)

/** @param task each on a schedule of its own */
export async function chores({ task }: { readonly task: 'sequence' | 'attest' }): Promise<void> {
  const ledger = await open()
  await (task === 'attest' ? ledger.attest() : ledger.sequence())
}

export const setup = customResource(
  environment.transport,
  {
    /** The log begins with the stack. */
    async arrive() {
      await (await open()).sequence()
      return {}
    },
    leave: () => deleteParameterKey(set.required('LEDGER_KEY_PARAMETER')),
  },
  log.fault,
)
