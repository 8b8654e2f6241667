/**
 * `npm run deploy -- agent|repository|ledger|witness|network [CDK OPTIONS]` and `npm run destroy -- …`: the CDK on the stacks of
 * that name, in the account and region of the AWS SDK's own settings. An agent's services are given as
 * `--parameters LedgerUrl=… --parameters RepositoryUrl=…`.
 */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

const STACKS: Readonly<Record<string, readonly string[]>> = {
  agent: ['raincheck-agent'],
  repository: ['raincheck-repository'],
  ledger: ['raincheck-ledger'],
  witness: ['raincheck-witness'],
  network: ['raincheck-network-*'],
}
/** Others rest on their keys, which go with the stack. */
const PROTECTED: readonly string[] = ['ledger', 'witness']
const [action = '', name = '', ...options] = process.argv.slice(2)
const stacks = Object.hasOwn(STACKS, name) ? STACKS[name] : undefined
if (!stacks || (action !== 'deploy' && action !== 'destroy')) {
  console.error(`usage: npm run ${action} -- ${Object.keys(STACKS).join('|')} [CDK OPTIONS]`)
  process.exit(2)
}
const cdk = createRequire(import.meta.url).resolve('aws-cdk/bin/cdk')
const { status } = spawnSync(process.execPath, [cdk, action, ...stacks, ...options], { stdio: 'inherit' })
if (status !== 0) console.error('docs/AWS.md says what an account needs first: "With the CDK".')
if (status !== 0 && action === 'destroy' && PROTECTED.includes(name)) {
  // The CDK does not take the protection away.
  console.error(`raincheck-${name} is protected: its key goes with it, and nobody else can sign what it signed.
To remove it all the same, and before the same command again:
  aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name raincheck-${name}`)
}
process.exit(status ?? 1)
