/**
 * Entry point of the repository on Node (`npm run repository`). REPOSITORY_STORE names the store; PORT and HOST have
 * defaults. REPOSITORY_ALLOW_LOOPBACK=1 lets agents at loopback addresses be announced.
 * REPOSITORY_KEY_FILE names a file with the key of its log, made when it is not there; else the store keeps one.
 * REPOSITORY_PRUNES are ids, separated by commas, that the log says the repository no longer stands by.
 * REPOSITORY_WITNESSES names a file with the witnesses to ask.
 * REPOSITORY_ORIGIN names the log. REPOSITORY_MIRRORS is the URL of a repository to follow: this one then serves that log.
 */
import { readFile } from 'node:fs/promises'
import { realEnvironment } from '../infra/environment.ts'
import { listen } from '../infra/serve.ts'
import { openServiceKey } from '../infra/service-key.ts'
import { settings, untilTerminated } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import { witnessPlaces } from '../infra/witness-places.ts'
import { fromHex } from '../protocol/bytes.ts'
import { createRepository } from './repository.ts'

await untilTerminated('repository', async (report) => {
  const set = settings(process.env)
  const store = await openStore(set.required('REPOSITORY_STORE'), {
    createTable: set.optional('RAINCHECK_CREATE_TABLE', '') === '1',
  })
  const environment = realEnvironment()
  const [keyFile, origin] = [set.optional('REPOSITORY_KEY_FILE', ''), set.optional('REPOSITORY_ORIGIN', '')]
  const mirrorOf = set.optional('REPOSITORY_MIRRORS', '').replace(/\/+$/, '')
  const witnessFile = set.optional('REPOSITORY_WITNESSES', '')
  const allowLoopback = set.optional('REPOSITORY_ALLOW_LOOPBACK', '0') === '1'
  const repository = createRepository({
    environment,
    store,
    ...(keyFile !== '' && { secret: await openServiceKey(keyFile, environment.random) }),
    ...(origin !== '' && { origin }),
    ...(mirrorOf !== '' && { mirrorOf }),
    ...(witnessFile !== '' && { witnesses: witnessPlaces(await readFile(witnessFile, 'utf8'), witnessFile) }),
    options: { allowLoopback },
    onFault: report,
  })
  for (const id of set.optional('REPOSITORY_PRUNES', '').split(',').filter(Boolean))
    await repository.prune(fromHex(id, 32))
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
