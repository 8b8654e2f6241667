/** A ledger, a repository and agents, each in a process of its own. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import { openHome } from '../../agent/home.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { freePort } from '../local/ports.ts'
import { start, type Child } from './processes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const environment = realEnvironment()
/** As `npm run agent` has them: a small young generation lets go of buffers sooner. */
const AGENT_FLAGS = ['--max-semi-space-size=1']

export async function startServices(state: string): Promise<Child[]> {
  mkdirSync(state, { recursive: true })
  const ledger = await start(join(root, 'ledger/node.ts'), {
    PORT: '0',
    LEDGER_STORE: `sqlite:${join(state, 'ledger.sqlite')}`,
    LEDGER_KEY_FILE: join(state, 'ledger.key'),
    LEDGER_ORIGIN: 'bench.local/ledger',
    LEDGER_FAUCET: '1000000',
  })
  const repository = await start(join(root, 'repository/node.ts'), {
    PORT: '0',
    REPOSITORY_STORE: `sqlite:${join(state, 'repository.sqlite')}`,
    REPOSITORY_ALLOW_LOOPBACK: '1',
  })
  return [ledger, repository]
}

export async function startAgent(
  state: string,
  name: string,
  services: readonly Child[],
  variables: Readonly<Record<string, string>> = {},
): Promise<{ child: Child; owner: OwnerClient }> {
  const dir = madeFolder(join(state, name))
  const home = openHome(dir)
  const owner = await home.init(environment)
  const [ledger, repository] = services
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const settings = {
    RAINCHECK_HOME: dir,
    PORT: String(port),
    AGENT_URL: url,
    AGENT_STORE: `sqlite:${join(state, `${name}.sqlite`)}`,
    LEDGER_URL: String(ledger?.ready['url']),
    REPOSITORY_URL: String(repository?.ready['url']),
    RAINCHECK_ALLOW_LOOPBACK: '1',
    ...variables,
  }
  const child = await start(join(root, 'agent/node.ts'), settings, AGENT_FLAGS)
  return { child, owner: createOwnerClient({ environment, url, owner: owner.id, signer: await home.signer() }) }
}

export function madeFolder(path: string): string {
  mkdirSync(path, { recursive: true })
  return path
}
