/**
 * The agent's stack as one file that anyone can launch from the console (`npm run template -- [--to FILE] [--url URL]`): no
 * bootstrap, no asset; the code is inside, and the AWS SDK is the runtime's. `--url` is where you put the file: the link
 * that launches it is printed.
 */
import { BootstraplessSynthesizer, type IStackSynthesizer } from 'aws-cdk-lib'
import { Code } from 'aws-cdk-lib/aws-lambda'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { brotliCompressSync, constants } from 'node:zlib'
import { AgentStack } from './agent-stack.ts'
import { bundle } from './bundle.ts'
import { check, strictApp } from './checks.ts'
import { launchUrl } from './launch-url.ts'

/** Of a template that lies in S3. */
const MOST_BYTES = 1024 * 1024
const STACK = 'raincheck-agent'

const values = options()
const app = strictApp()
const file = values.to ?? join(app.outdir, `${STACK}.json`)
const code = Code.fromInline(packed(await bundle('agent', app.outdir, { withoutSdk: true })))
new AgentStack(app, STACK, { code, synthesizer: new BootstraplessSynthesizer() as IStackSynthesizer })
check(app)
const template = JSON.stringify(app.synth().getStackByName(STACK).template)
if (Buffer.byteLength(template) > MOST_BYTES) throw new Error(`The template has more than ${MOST_BYTES} bytes.`)
mkdirSync(dirname(file), { recursive: true })
writeFileSync(file, template)
console.log(values.url === undefined ? file : launchUrl(values.url, STACK))

function options(): { readonly to?: string | undefined; readonly url?: string | undefined } {
  try {
    const { values: given } = parseArgs({ options: { to: { type: 'string' }, url: { type: 'string' } } })
    if (given.url === undefined || given.url.startsWith('https://')) return given
    throw new Error(`--url names where the file lies, over https, not '${given.url}'`)
  } catch (error) {
    console.error(`${(error as Error).message}\nusage: npm run template -- [--to FILE] [--url URL]`)
    return process.exit(2)
  }
}

/**
 * Inline code is one CommonJS file; packed, it has a third of its size. It holds the files of the bundle by their names: each
 * is read by the engine when it is first required, which then has a cost only for who needs it.
 */
function packed(folder: string): string {
  const sources = Object.fromEntries(
    readdirSync(folder).map((name) => [`./${name}`, readFileSync(join(folder, name), 'utf8')]),
  )
  const whole = Buffer.from(JSON.stringify(sources))
  const text = brotliCompressSync(whole, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: whole.length,
    },
  }).toString('base64')
  return [
    `const sources = JSON.parse(require('node:zlib').brotliDecompressSync(Buffer.from('${text}', 'base64')))`,
    `const loaded = {}`,
    `function load(name) {`,
    `  if (loaded[name]) return loaded[name].exports`,
    `  const file = __dirname + name.slice(1)`,
    `  const inner = (loaded[name] = new module.constructor(file, module))`,
    `  inner.paths = module.paths`,
    `  inner.require = (id) => (Object.hasOwn(sources, id) ? load(id) : module.require(id))`,
    `  inner._compile(sources[name], file)`,
    `  return inner.exports`,
    `}`,
    `module.exports = load('./index.js')`,
  ].join('\n')
}
