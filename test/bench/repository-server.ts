/** A repository as `npm run repository` serves it, in a process of its own: its store is a file, synced as in earnest. */
import { realEnvironment } from '../../infra/environment.ts'
import { listen } from '../../infra/serve.ts'
import { onTermination, settings } from '../../infra/service-process.ts'
import { openStore } from '../../infra/store/open.ts'
import { createRepository } from '../../repository/repository.ts'

const store = await openStore(settings(process.env).required('BENCH_STORE'))
const { app } = createRepository({ environment: realEnvironment(), store })
const server = await listen({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
onTermination(() => server.close())
console.log(JSON.stringify({ url: `http://127.0.0.1:${server.port}` }))
