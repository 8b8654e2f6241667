/**
 * Entry point of one agent on Node (`npm run agent`). Its owner's home must have been made with `raincheck init`; where the
 * settings in it name no services yet, they name this agent and its services from now on; one that ran here before gives way.
 */
import { join } from 'node:path'
import { agentWorld, KEPT_THROUGH_KILLS } from '../infra/agent-world.ts'
import { realEnvironment } from '../infra/environment.ts'
import { listen } from '../infra/serve.ts'
import { openServiceKey } from '../infra/service-key.ts'
import { settings, untilTerminated } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import { listenForPeers } from './bittorrent/peer-server-node.ts'
import { readDashboard } from './dashboard/dashboard-node.ts'
import { dealing } from './dealing.ts'
import { usualCaps } from './guard/usual-caps.ts'
import { openHome, readPassphrase, type Home, type Settings as HomeSettings } from './home.ts'
import { openAgent } from './open.ts'
import { pieceClientNode } from './download/piece-client-node.ts'
import { providerHosts } from './storage/providers.ts'
import { sendFileNode } from './sell/file-server-node.ts'
import { sendPieceNode } from './sell/piece-server-node.ts'

/** Where the settings name no agent, or one of this machine, which was this one on another port. */
async function nameAgent(home: Home, named: Required<HomeSettings>): Promise<void> {
  const before = await home.settings()
  if (before.agent === undefined) await home.saveSettings(named)
  else if (before.agent !== named.agent && before.agent.startsWith('http://127.0.0.1:'))
    await home.saveSettings({ ...before, agent: named.agent })
}

await untilTerminated('agent', async (report) => {
  const { required, optional } = settings(process.env)
  const dir = required('RAINCHECK_HOME')
  const port = Number(optional('PORT', '8402'))
  const allowLoopback = optional('RAINCHECK_ALLOW_LOOPBACK', '') === '1'
  const [ledgerUrl, repositoryUrl] = [required('LEDGER_URL'), required('REPOSITORY_URL')]
  const hosts = providerHosts(optional)
  const moreRepositoryUrls = optional('REPOSITORIES_ALSO', '').split(',').filter(Boolean)
  const services = [ledgerUrl, repositoryUrl, ...moreRepositoryUrls]
  const { environment, pin } = agentWorld({ real: realEnvironment(), services, hosts, allowLoopback })
  const publicUrl = optional('AGENT_URL', `http://127.0.0.1:${port}`)
  const home = openHome(dir)
  // Nothing is made in a home without an owner.
  await home.owner()
  const [witnesses, repositoryWitnesses] = [await home.witnesses(), await home.repositoryWitnesses()]
  const peerPort = Number(optional('BITTORRENT_PORT', '0'))
  const passphraseFile = optional('RAINCHECK_PASSPHRASE_FILE', '')
  const store = await openStore(optional('AGENT_STORE', `sqlite:${join(dir, 'agent', 'store.sqlite')}`), {
    ...KEPT_THROUGH_KILLS,
    createTable: optional('RAINCHECK_CREATE_TABLE', '') === '1',
  })
  const agent = await openAgent({
    environment,
    secret: await openServiceKey(join(dir, 'agent', 'key'), environment.random),
    store,
    home,
    dir: join(dir, 'agent'),
    ledgerUrl,
    repositoryUrl,
    moreRepositoryUrls,
    publicUrl,
    allowLoopback,
    hosts,
    ...(witnesses && { witnesses }),
    ...(repositoryWitnesses && { repositoryWitnesses }),
    ...dealing(optional),
    caps: usualCaps(optional, false),
    ...(peerPort !== 0 && { bittorrent: { host: new URL(publicUrl).hostname, port: peerPort } }),
    ...(passphraseFile === '' ? {} : { passphrase: await readPassphrase(passphraseFile) }),
    pieceClient: pieceClientNode(pin),
    sendPiece: sendPieceNode,
    sendFile: sendFileNode,
    dashboard: await readDashboard(),
    onFault: report,
  })
  const hostname = optional('HOST', '127.0.0.1')
  const server = await listen({ fetch: agent.app.fetch, port, hostname })
  const { shares, guard, usage } = agent
  const parts = { environment, shares, guard, usage, onFault: report }
  const peers =
    peerPort === 0
      ? undefined
      : await listenForPeers({ ...parts, hostname: optional('BITTORRENT_HOST', hostname), port: peerPort })
  agent.start()
  await nameAgent(home, { agent: publicUrl, ledger: ledgerUrl, repository: repositoryUrl })
  return {
    url: `http://${hostname}:${server.port}`,
    async stop() {
      await Promise.all([server.close(), peers?.close()])
      await agent.stop()
      store.close()
    },
  }
})
