/** The CDK app: a stack for each service, and the three of them as a network to try out. `cdk.json` runs it. */
import { App } from 'aws-cdk-lib'
import { Code } from 'aws-cdk-lib/aws-lambda'
import { join } from 'node:path'
import { bundle, type ServiceName } from './bundle.ts'
import { check } from './checks.ts'
import { LedgerStack } from './ledger-stack.ts'
import { RepositoryStack } from './repository-stack.ts'

const app = new App({ analyticsReporting: false })
const bundles = join(app.outdir, 'bundles')
const code = (service: ServiceName): Code => Code.fromAsset(bundle(service, bundles))

new LedgerStack(app, 'raincheck-ledger', { code: code('ledger'), keep: true })
new RepositoryStack(app, 'raincheck-repository', { code: code('repository') })
check(app)
