/** Each driver beside a loop over the bare SDK, on the same server in the same run; and what it costs to load one. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { openStorage, type DriverContext, type LinkSettings } from '../../agent/storage/open.ts'
import { providerHosts } from '../../agent/storage/providers.ts'
import { createSecrets, type LinkSecret } from '../../agent/storage/secrets.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { driveLoop, dropboxLoop, s3Loop, type Loop, type LoopOptions } from './bare-sdk.ts'
import { median, type Bench, type BenchOptions, type Figure } from './figure.ts'
import { start } from './processes.ts'

const MIB = 1024 ** 2
const BYTES = 256 * MIB
const KINDS = ['s3', 'drive', 'dropbox'] as const
type Kind = (typeof KINDS)[number]
const STEPS = ['read', 'write'] as const

interface Servers {
  readonly env: Readonly<Record<string, string>>
  readonly links: Readonly<Record<Kind, { readonly secret: LinkSecret } & Record<string, unknown>>>
  readonly tokens: Readonly<Record<'drive' | 'dropbox', string>>
}

const root = fileURLToPath(new URL('../..', import.meta.url))

export const drivers: Bench = async (options) => {
  const child = await start(join(root, 'test/bench/clouds-server.ts'), { BYTES: String(BYTES) })
  try {
    const servers = child.ready as unknown as Servers
    Object.assign(process.env, servers.env)
    const figures: Figure[] = []
    for (const kind of KINDS) figures.push(...(await throughputOf(kind, servers, options)))
    return [...figures, ...(await startCosts(options))]
  } finally {
    await child.stop()
  }
}

async function throughputOf(kind: Kind, servers: Servers, options: BenchOptions): Promise<readonly Figure[]> {
  const { runs } = options
  const storage = await openLoop(kind, servers)
  const bare = bareLoop(kind, servers, storage.partBytes)
  const shares = { read: [] as number[], write: [] as number[] }
  const speeds = { read: [] as number[], write: [] as number[] }
  for (let run = 0; run < runs; run++) {
    for (const step of STEPS) {
      const plain = await seconds(() => bare[step](`bare ${run}`))
      const driver = await seconds(() => storage[step](`driver ${run}`))
      speeds[step].push(BYTES / MIB / driver)
      shares[step].push(plain / driver)
      options.say(
        `${kind} ${step}: ${(BYTES / MIB / driver).toFixed(0)} MiB/s, bare ${(BYTES / MIB / plain).toFixed(0)} MiB/s`,
      )
    }
  }
  return STEPS.map((step) => ({
    name: `drivers/${kind}/${step}`,
    unit: 'MiB/s, ratio to the bare SDK',
    value: median(speeds[step]),
    ratio: median(shares[step]),
    runs,
  }))
}

async function openLoop(kind: Kind, { links }: Servers): Promise<Loop & { readonly partBytes: number }> {
  const { secret, kind: _, ...settings } = links[kind]
  const environment = realEnvironment()
  const context: DriverContext = {
    environment,
    store: openSqlite(':memory:'),
    hosts: providerHosts((name, otherwise) => process.env[name] ?? otherwise),
    link: kind,
    secret: async () => secret,
    renewSecret: async () => true,
    secrets: createSecrets(environment.random.bytes(32), environment.random),
  }
  const storage = await openStorage(kind, settings as unknown as LinkSettings[Kind], context)
  const { partBytes } = storage
  const buffer = new Uint8Array(partBytes)
  const zeros = new Uint8Array(partBytes)
  return {
    partBytes,
    async read() {
      const { version } = await storage.stat({ name: 'film.bin' })
      for (let offset = 0; offset < BYTES; offset += partBytes) {
        await storage.read({ name: 'film.bin', version }, { offset, length: partBytes }, buffer)
      }
    },
    async write(name) {
      const write = await storage.begin(name, BYTES)
      for (let offset = 0; offset < BYTES; offset += partBytes) await storage.put(write, offset, zeros)
      await storage.commit(write)
    },
  }
}

function bareLoop(kind: Kind, { env, links, tokens }: Servers, partBytes: number): Loop {
  const common = { bytes: BYTES, partBytes }
  const { accessKeyId = '', secretAccessKey = '' } = links.s3.secret
  const at = (name: string, token: string): LoopOptions => ({ ...common, token, root: env[name] ?? '' })
  if (kind === 's3') return s3Loop(at('AWS_ENDPOINT_URL_S3', ''), { accessKeyId, secretAccessKey })
  if (kind === 'drive') return driveLoop(at('RAINCHECK_GOOGLE_API_URL', tokens.drive))
  return dropboxLoop(at('RAINCHECK_DROPBOX_API_URL', tokens.dropbox))
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return (performance.now() - startedMs) / 1000
}

const SETTINGS = { none: undefined, s3: { bucket: 'x' }, drive: { clientId: 'x' }, dropbox: { appKey: 'x' } }

/** Processes that load an agent, and one driver or none. */
async function startCosts(options: BenchOptions): Promise<readonly Figure[]> {
  const { runs } = options
  const figures: Figure[] = []
  for (const [kind, settings] of Object.entries(SETTINGS)) {
    const measured: { ms: number; mib: number }[] = []
    for (let run = 0; run < runs; run++) measured.push(await startCost(kind, settings))
    const [ms, mib] = [median(measured.map((one) => one.ms)), median(measured.map((one) => one.mib))]
    options.say(`start with ${kind}: ${ms.toFixed(0)} ms, ${mib.toFixed(0)} MiB`)
    figures.push({ name: `drivers/start/${kind}`, unit: 'ms to load an agent and that driver', value: ms, runs })
    figures.push({ name: `drivers/start/${kind}/memory`, unit: 'MiB then', value: mib, runs })
  }
  return figures
}

async function startCost(kind: string, settings: object | undefined): Promise<{ ms: number; mib: number }> {
  const script = `
    const startedMs = performance.now()
    await import('./agent/open.ts')
    const settings = ${JSON.stringify(settings ?? null)}
    if (settings) {
      const { openStorage } = await import('./agent/storage/open.ts')
      const secret = async () => undefined
      const context = { environment: {}, store: {}, hosts: {}, secret, renewSecret: secret, secrets: {} }
      await openStorage('${kind}', settings, context)
    }
    const ms = performance.now() - startedMs
    console.log(JSON.stringify({ ms, mib: process.memoryUsage().rss / 1024 ** 2 }))
    process.exit(0)`
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: root })
  return JSON.parse(stdout) as { ms: number; mib: number }
}
