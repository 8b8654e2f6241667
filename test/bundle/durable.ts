/** One execution of a durable function, by the official runner: checkpoints, waits and replays as Lambda does them. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { LocalDurableTestRunner } from '@aws/durable-execution-sdk-js-testing'

const { CODE = '', HANDLER = '', PAYLOAD = '{}' } = process.env
Object.assign(globalThis, { awslambda: { streamifyResponse: (handler: unknown) => handler } })
const [file = '', name = ''] = HANDLER.split('.')
const bundle = createRequire(import.meta.url)(join(CODE, `${file}.js`)) as Record<string, never>

await LocalDurableTestRunner.setupTestEnvironment({ skipTime: false })
const runner = new LocalDurableTestRunner({ handlerFunction: bundle[name] as never })
const execution = await runner.run({ payload: JSON.parse(PAYLOAD) as never })
const status = execution.getStatus()
const steps = execution.getOperations().map((operation) => `${operation.getName()} ${operation.getStatus()}`)
console.log(JSON.stringify({ status, steps, ...(status === 'FAILED' && { error: execution.getError() }) }))
await LocalDurableTestRunner.teardownTestEnvironment()
process.exit(status === 'SUCCEEDED' ? 0 : 1)
