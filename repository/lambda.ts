/**
 * Entry points of the repository on Lambda: `url` behind its function URL, `chores` on a schedule. REPOSITORY_STORE names
 * the table; REPOSITORY_WITNESSES is the policy of its witnesses itself, as there are no files here.
 */
import { realEnvironment } from '../infra/environment.ts'
import { functionUrl, type LambdaStreaming } from '../infra/lambda/function-url.ts'
import { once } from '../infra/lambda/once.ts'
import { policyText } from '../infra/lambda/policy-setting.ts'
import { settings } from '../infra/service-process.ts'
import { stdoutLines } from '../infra/stdout-lines.ts'
import { openStore } from '../infra/store/open.ts'
import { witnessPlaces } from '../infra/witness-places.ts'
import { createRepository } from './repository.ts'

declare const awslambda: LambdaStreaming

const environment = realEnvironment()
const set = settings(process.env)
const log = stdoutLines(environment.clock, set.optional('STACK_NAME', ''))

const open = once(async () =>
  createRepository({
    environment,
    store: await openStore(set.required('REPOSITORY_STORE')),
    witnesses: witnessPlaces(policyText(set.optional('REPOSITORY_WITNESSES', '')), 'REPOSITORY_WITNESSES'),
    options: { allowLoopback: set.optional('REPOSITORY_ALLOW_LOOPBACK', '0') === '1' },
    onFault: log.fault,
  }),
)

export const url = functionUrl(async () => (await open()).app.fetch, awslambda, log)

export async function chores(): Promise<void> {
  await (await open()).maintain()
}
