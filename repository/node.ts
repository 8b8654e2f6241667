/**
 * Entry point of the repository on Node (`npm run repository`). REPOSITORY_STORE names the store; PORT and HOST have
 * defaults. REPOSITORY_ALLOW_LOOPBACK=1 lets agents at loopback addresses be announced.
 */
import { realEnvironment } from '../infra/environment.ts'
import { listen } from '../infra/serve.ts'
import { settings, untilTerminated } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import { createRepository } from './repository.ts'

await untilTerminated('repository', async (report) => {
  const set = settings(process.env)
  const store = await openStore(set.required('REPOSITORY_STORE'), {
    createTable: set.optional('RAINCHECK_CREATE_TABLE', '') === '1',
  })
  const allowLoopback = set.optional('REPOSITORY_ALLOW_LOOPBACK', '0') === '1'
  const repository = createRepository({
    environment: realEnvironment(),
    store,
    options: { allowLoopback },
    onFault: report,
  })
  await repository.start()
  const [port, hostname] = [Number(set.optional('PORT', '8404')), set.optional('HOST', '127.0.0.1')]
  const server = await listen({ fetch: repository.app.fetch, port, hostname })
  return {
    url: `http://${hostname}:${server.port}`,
    async stop() {
      await server.close()
      await repository.stop()
      store.close()
    },
  }
})
