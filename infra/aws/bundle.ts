/** The code of each service's functions: minified, with all that it needs. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, transform, type Plugin } from 'esbuild'
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
const TARGET = 'node24'
const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * @returns the folder: `index.js`, and beside it what it loads when it is first needed, such as each driver of a storage. To
 *   read code costs a cold start as much as to run it.
 */
export async function bundle(
  service: ServiceName,
  into: string,
  { withoutSdk = false }: BundleOptions = {},
): Promise<string> {
  const folder = join(into, service)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: { index: ENTRY_POINTS[service] },
    outdir: folder,
    bundle: true,
    minify: true,
    platform: 'node',
    target: TARGET,
    // esbuild splits nothing else.
    format: 'esm',
    splitting: true,
    write: false,
    // What the SDK has of its services and nobody asks for stays out.
    mainFields: ['module', 'main'],
    legalComments: 'none',
    ...(withoutSdk && { external: CLIENTS }),
    logLevel: 'error',
    plugins: [dashboardInside, englishAlone, ownStreams],
  })
  for (const { path, text } of outputFiles) writeFileSync(path, await asCommonJs(text))
  return folder
}

/** What is in a template must be CommonJS, and a handler that is begins sooner. */
async function asCommonJs(source: string): Promise<string> {
  const { code } = await transform(source, {
    format: 'cjs',
    minify: true,
    platform: 'node',
    target: TARGET,
    legalComments: 'none',
    // `require` finds what the runtime brings; a dynamic `import` looks beside the code alone.
    supported: { 'dynamic-import': false },
  })
  return code
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
