/** The CDK app: a stack for each service, and ledger, repository and agents as a network to try out. `cdk.json` runs it. */
import { Code } from 'aws-cdk-lib/aws-lambda'
import { join } from 'node:path'
import { bundle, type ServiceName } from './bundle.ts'
import { check, strictApp } from './checks.ts'
import { AgentStack } from './agent-stack.ts'
import { LedgerStack } from './ledger-stack.ts'
import { RepositoryStack } from './repository-stack.ts'
import { WitnessStack } from './witness-stack.ts'

const app = strictApp()
const built = (service: ServiceName): Promise<string> => bundle(service, join(app.outdir, 'bundles'))
const folders = {
  agent: await built('agent'),
  ledger: await built('ledger'),
  repository: await built('repository'),
  witness: await built('witness'),
}
/** One a stack: where an asset goes is its stack's matter. */
const code = (service: ServiceName): Code => Code.fromAsset(folders[service])

new AgentStack(app, 'raincheck-agent', { code: code('agent') })
new LedgerStack(app, 'raincheck-ledger', { code: code('ledger'), keep: true })
new RepositoryStack(app, 'raincheck-repository', { code: code('repository') })
new WitnessStack(app, 'raincheck-witness', { code: code('witness') })

// To try it out: nothing of it is kept.
const { url: ledgerUrl, witnessed } = new LedgerStack(app, 'raincheck-network-ledger', {
  code: code('ledger'),
  keep: false,
  witnessCode: code('witness'),
})
const { url: repositoryUrl } = new RepositoryStack(app, 'raincheck-network-repository', { code: code('repository') })
for (const name of ['you', 'neighbour']) {
  const services = { ledgerUrl, repositoryUrl, ...(witnessed !== undefined && { witnesses: witnessed }) }
  new AgentStack(app, `raincheck-network-${name}`, { code: code('agent'), services })
}
check(app)
