/**
 * Entry point of a witness on Node (`npm run witness`). WITNESS_STORE names the store, WITNESS_KEY_FILE a file with the
 * 32-byte key in hex, made when it is not there; WITNESS_NAME names the key, and WITNESS_LOGS a file that lists the logs to
 * follow (C2SP tlog-policy).
 */
import { readFile } from 'node:fs/promises'
import { realEnvironment } from '../../infra/environment.ts'
import { listen } from '../../infra/serve.ts'
import { openServiceKey } from '../../infra/service-key.ts'
import { settings, untilTerminated } from '../../infra/service-process.ts'
import { openStore } from '../../infra/store/open.ts'
import { parseLogPolicy } from '../../protocol/log-policy.ts'
import { createWitness } from './witness.ts'

await untilTerminated('witness', async (report) => {
  const { required, optional } = settings(process.env)
  const environment = realEnvironment()
  const { logs } = parseLogPolicy(await readFile(required('WITNESS_LOGS'), 'utf8'))
  const [name, spec] = [required('WITNESS_NAME'), required('WITNESS_STORE')]
  const secret = await openServiceKey(required('WITNESS_KEY_FILE'), environment.random)
  const store = await openStore(spec, { createTable: optional('RAINCHECK_CREATE_TABLE', '') === '1' })
  const keys = logs.map(({ key }) => key)
  const witness = createWitness({ environment, store, secret, name, logs: keys, onFault: report })
  const hostname = optional('HOST', '127.0.0.1')
  const server = await listen({ fetch: witness.app.fetch, port: Number(optional('PORT', '8406')), hostname })
  return {
    url: `http://${hostname}:${server.port}`,
    about: { vkey: witness.verifierKey },
    async stop() {
      await server.close()
      store.close()
    },
  }
})
