/** One file of JavaScript for each service's functions: minified, with all that it needs. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { readDashboard } from '../../agent/dashboard/dashboard-node.ts'

const ENTRY_POINTS = {
  agent: 'agent/lambda.ts',
  ledger: 'ledger/lambda.ts',
  repository: 'repository/lambda.ts',
  witness: 'ledger/witness/lambda.ts',
} as const

export type ServiceName = keyof typeof ENTRY_POINTS

export interface BundleOptions {
  /** Leaves out the clients of the AWS SDK: for code that must be small. */
  readonly withoutSdk?: boolean
}

/** Of the AWS SDK, what Lambda's runtime brings. */
const CLIENTS = ['dynamodb', 'lambda', 's3', 'ssm'].map((service) => `@aws-sdk/client-${service}`)
const root = new URL('../..', import.meta.url).pathname

/** @returns the folder, which holds `index.js` and nothing else */
export async function bundle(
  service: ServiceName,
  into: string,
  { withoutSdk = false }: BundleOptions = {},
): Promise<string> {
  const folder = join(into, service)
  mkdirSync(folder, { recursive: true })
  await build({
    absWorkingDir: root,
    entryPoints: [ENTRY_POINTS[service]],
    outfile: join(folder, 'index.js'),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    // What is imported when it is needed must not run before.
    format: 'cjs',
    legalComments: 'none',
    // `require` finds what the runtime brings; a dynamic `import` looks beside the code alone.
    supported: { 'dynamic-import': false },
    ...(withoutSdk && { external: CLIENTS }),
    logLevel: 'error',
    plugins: [dashboardInside, englishAlone, ownStreams],
  })
  return folder
}

/** On one machine the page is read from the files beside its module; a bundle has none, so they go into it. */
const dashboardInside: Plugin = {
  name: 'dashboard',
  setup(steps) {
    steps.onLoad({ filter: /dashboard-node\.ts$/ }, async () => {
      const files = Array.from(await readDashboard(), ([path, { type, body }]) => {
        // All of it is text, which is packed better as such.
        const text = JSON.stringify(Buffer.from(body).toString('utf8'))
        return `[${JSON.stringify(path)}, { type: ${JSON.stringify(type)}, body: Buffer.from(${text}) }]`
      })
      return { contents: `export const readDashboard = async () => new Map([${files.join(',')}])`, loader: 'js' }
    })
  },
}

/** Problems are worded by us: of zod's fifty languages one is enough. */
const englishAlone: Plugin = {
  name: 'english',
  setup(steps) {
    steps.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js'",
      loader: 'js',
    }))
  },
}

/** Google's client brings streams for where there are none. */
const ownStreams: Plugin = {
  name: 'streams',
  setup(steps) {
    steps.onLoad({ filter: /web-streams-polyfill\/dist\/ponyfill\.es2018\.js$/ }, () => ({
      contents: "module.exports = require('node:stream/web')",
      loader: 'js',
    }))
  },
}
