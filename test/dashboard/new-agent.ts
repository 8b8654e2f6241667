/** A deployed agent that nobody has claimed yet, on this machine: as its functions put it together, over a store of its own. */
import { randomBytes } from 'node:crypto'
import { createAgent } from '../../agent/agent.ts'
import { mountClaim } from '../../agent/api/claim-api.ts'
import { createUnclaimedApp } from '../../agent/api/unclaimed.ts'
import { claimSecret, createClaims } from '../../agent/claim.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { readDashboard } from '../../agent/dashboard/dashboard-node.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import { createOwnedAgent } from '../../agent/owned-agent.ts'
import { createSecrets } from '../../agent/storage/secrets.ts'
import { listen } from '../../infra/serve.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import type { Environment } from '../../protocol/environment.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { freePort } from '../local/ports.ts'

export interface NewAgent {
  readonly url: string
  /** What its stack's outputs say. */
  readonly claimSecret: string
  stop(): Promise<void>
}

export interface Services {
  readonly ledgerUrl: string
  readonly repositoryUrl: string
}

export async function startNewAgent(
  environment: Environment,
  { ledgerUrl, repositoryUrl }: Services,
  onFault: (error: unknown) => void,
): Promise<NewAgent> {
  const secret = new Uint8Array(randomBytes(32))
  const signer = signerFrom(secret)
  const store = openSqlite(':memory:')
  const ledger = createLedgerClient({ environment, url: ledgerUrl })
  const repository = createRepositoryClient({ environment, url: repositoryUrl })
  const claims = createClaims({ environment, store, secret, ledger, repository })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const dashboard = await readDashboard()
  const api = { claims, key: signer.key, ledger, repositoryUrl, urlOf: () => url }
  const unclaimed = createUnclaimedApp({ ...api, dashboard, onFault })
  const current = createOwnedAgent({
    clock: environment.clock,
    claims,
    open: async (owned) => {
      const context = { ...owned, environment, store, signer, ledger, repository, publicUrl: url, allowLoopback: true }
      const agent = createAgent(context, {
        pieceClient: pieceClientOver(environment.transport),
        linkAccess: { secrets: createSecrets(secret, environment.random) },
        dashboard,
        onFault,
      })
      mountClaim(agent.app, api)
      return agent
    },
  })

  const server = await listen({
    fetch: async (request, env) => ((await current()) ?? unclaimed).app.fetch(request, env),
    port,
    hostname: '127.0.0.1',
  })
  return {
    url,
    claimSecret: claimSecret(secret),
    async stop() {
      await server.close()
      await (await current())?.stop()
      store.close()
    },
  }
}
