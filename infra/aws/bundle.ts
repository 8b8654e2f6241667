/** One file of JavaScript for each service's functions: minified, with all that it needs. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'

export type ServiceName = 'agent' | 'ledger' | 'repository'

export interface BundleOptions {
  /** Leaves out the AWS SDK, which Lambda's runtime brings: for code that must be small. */
  readonly withoutSdk?: boolean
}

const root = new URL('../..', import.meta.url).pathname

/** @returns the folder, which holds `index.js` and nothing else */
export function bundle(service: ServiceName, into: string, { withoutSdk = false }: BundleOptions = {}): string {
  const folder = join(into, service)
  mkdirSync(folder, { recursive: true })
  buildSync({
    absWorkingDir: root,
    entryPoints: [`${service}/lambda.ts`],
    outfile: join(folder, 'index.js'),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    // What is imported when it is needed must not run before.
    format: 'cjs',
    legalComments: 'none',
    ...(withoutSdk && { external: ['@aws-sdk/*'] }),
    logLevel: 'error',
  })
  return folder
}
