/**
 * Entry points of the repository on Lambda: `url` behind its function URL, `chores` on a schedule. REPOSITORY_STORE names
 * the table.
 */
import { realEnvironment } from '../infra/environment.ts'
import { functionUrl, type LambdaStreaming } from '../infra/lambda/function-url.ts'
import { once } from '../infra/lambda/once.ts'
import { faultText, settings } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import { createRepository } from './repository.ts'

declare const awslambda: LambdaStreaming

const set = settings(process.env)

const open = once(async () =>
  createRepository({
    environment: realEnvironment(),
    store: await openStore(set.required('REPOSITORY_STORE')),
    options: { allowLoopback: set.optional('REPOSITORY_ALLOW_LOOPBACK', '0') === '1' },
    onFault: (error) => console.error(faultText(error)),
  }),
)

export const url = functionUrl(async () => (await open()).app.fetch, awslambda)

export async function chores(): Promise<void> {
  await (await open()).maintain()
}
