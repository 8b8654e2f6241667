/**
 * Entry points of a witness on Lambda: `url` behind its function URL, `setup` when the stack comes and goes. WITNESS_STORE
 * names the table, WITNESS_KEY_PARAMETER the parameter with the key, WITNESS_NAME the key; WITNESS_LOGS is the policy
 * that lists the logs to follow, as there are no files here. `setup` is told of neither table nor logs.
 */
import { realEnvironment } from '../../infra/environment.ts'
import { customResource } from '../../infra/lambda/custom-resource.ts'
import { functionUrl, type LambdaStreaming } from '../../infra/lambda/function-url.ts'
import { once } from '../../infra/lambda/once.ts'
import { deleteParameterKey, openParameterKey, requireParameterKey } from '../../infra/lambda/parameter-key.ts'
import { policyText } from '../../infra/lambda/policy-setting.ts'
import { settings } from '../../infra/service-process.ts'
import { stdoutLines } from '../../infra/stdout-lines.ts'
import { openStore } from '../../infra/store/open.ts'
import { formatVerifierKey, noteKey } from '../../protocol/checkpoint.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { createWitness } from './witness.ts'

declare const awslambda: LambdaStreaming

const environment = realEnvironment()
const set = settings(process.env)
const log = stdoutLines(environment.clock, set.optional('STACK_NAME', ''))

const keyName = (): string => set.required('WITNESS_KEY_PARAMETER')

const open = once(async () =>
  createWitness({
    environment,
    store: await openStore(set.required('WITNESS_STORE')),
    secret: await requireParameterKey(keyName()),
    name: set.required('WITNESS_NAME'),
    logs: parseLogPolicy(policyText(set.required('WITNESS_LOGS'))).logs.map(({ key }) => key),
    onFault: log.fault,
  }),
)

export const url = functionUrl(async () => (await open()).app.fetch, awslambda, log)

export const setup = customResource(
  environment,
  {
    async arrive() {
      const { key } = signerFrom(await openParameterKey(keyName(), environment.random))
      return { VerifierKey: formatVerifierKey(noteKey(set.required('WITNESS_NAME'), key, 'cosignature')) }
    },
    leave: () => deleteParameterKey(keyName()),
  },
  log.fault,
)
