/**
 * The whole network on one machine, killed with -9 again and again in the middle of one paid download, and started again
 * each time: it must finish by itself, and every account must be right.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, openSync, writeSync, closeSync } from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { auditLedger } from '../../agent/cli/audit.ts'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import { openHome } from '../../agent/home.ts'
import { createLedgerClient, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { equal, toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseCheckpoint, openNote, parseVerifierKey, type Checkpoint } from '../../protocol/checkpoint.ts'
import { append, EMPTY_FRONTIER, frontierRoot, leafHash } from '../../protocol/merkle.ts'
import { decodeBundle, tilePath, tileWidth } from '../../protocol/tile.ts'
import { limits } from '../../protocol/limits.ts'
import { createChance, type Chance } from '../simulation/chance.ts'

/** What is bought, of which link of the neighbour's, and the link of yours that it goes to. */
export interface Goods {
  readonly path: string
  readonly from: string
  readonly to: string
  /** Puts it there, and links both ends. */
  place(owners: { readonly you: OwnerClient; readonly neighbour: OwnerClient }): Promise<void>
  /** Whether what came, under this name, is what was shared, and nothing else is left. */
  isSame(name: string): Promise<boolean>
}

export interface CrashOptions {
  readonly dir: string
  readonly port: number
  readonly goods: Goods
  /** Variables of the network's process. */
  readonly env?: Readonly<Record<string, string>>
  readonly kills: number
  readonly seed: string
  readonly price: bigint
  readonly say: (line: string) => void
}

export interface CrashReport {
  readonly kills: number
  readonly pieces: number
  /** Pieces paid for. */
  readonly ticks: number
  readonly sameBytes: boolean
  /** Credits of both owners, before and after: what one lost the other gained. */
  readonly lost: bigint
  readonly gained: bigint
  readonly paid: bigint
  /** Every checkpoint seen before a crash is a prefix of the last one. */
  readonly prefixes: boolean
  readonly auditProblems: readonly string[]
}

/** Right bytes, an honest log, and each credit where it belongs; a kill may cost one piece. */
export const isRight = ({
  kills,
  pieces,
  ticks,
  sameBytes,
  lost,
  gained,
  paid,
  prefixes,
  auditProblems,
}: CrashReport) =>
  sameBytes && prefixes && auditProblems.length === 0 && lost === paid && gained === paid && ticks <= pieces + kills

interface DownloadJson {
  id: string
  state: string
  reason?: string
  piecesDone: number
  pieces: number
  ticks: number
  paid: string
  file?: string
}

interface Running {
  readonly process: ChildProcess
  readonly you: OwnerClient
  readonly neighbour: OwnerClient
  readonly ledger: LedgerClient
}

const environment = realEnvironment()
const MAIN = fileURLToPath(new URL('../../infra/local/main.ts', import.meta.url))
const FINISH_MS = 120_000

export async function crash(options: CrashOptions): Promise<CrashReport> {
  const { dir, kills, say, goods } = options
  const chance = createChance(options.seed)
  let network = await start(options)
  const [you, neighbour] = [await idOf(dir, 'you'), await idOf(dir, 'neighbour')]
  const before = { you: await worth(network, you), neighbour: await worth(network, neighbour) }
  await goods.place(network)
  const share = await network.neighbour.ask<{ infoHash: string; pieces: number }>('POST', '/v1/shares', {
    path: goods.path,
    link: goods.from,
    price: options.price.toString(),
  })
  const order = { source: share.infoHash, link: goods.to }
  const { id } = await network.you.ask<DownloadJson>('POST', '/v1/downloads', order)
  const seen: Checkpoint[] = []

  for (let kill = 1; kill <= kills; kill++) {
    await untilMoment(network, id, share.pieces, kill, options, chance)
    seen.push(await checkpointOf(network.ledger))
    await killNow(network)
    network = await start(options)
    say(`killed ${kill} of ${kills}`)
  }
  const download = await finished(network, id)
  await settled(network)
  const last = await checkpointOf(network.ledger)
  const report = {
    kills,
    pieces: share.pieces,
    ticks: download.ticks,
    paid: BigInt(download.paid),
    sameBytes: await goods.isSame(download.file ?? ''),
    lost: before.you - (await worth(network, you)),
    gained: (await worth(network, neighbour)) - before.neighbour,
    prefixes: await arePrefixes(network.ledger, seen, last),
    auditProblems: (await auditLedger(network.ledger)).problems,
  }
  network.process.kill('SIGTERM')
  await once(network.process, 'exit')
  return report
}

/** Half of the moments are by progress, so that they spread over the download; the others any time after the start. */
async function untilMoment(
  network: Running,
  id: string,
  pieces: number,
  kill: number,
  { kills }: CrashOptions,
  chance: Chance,
): Promise<void> {
  if (chance.fraction() < 0.5) return environment.clock.sleep(chance.fraction() * 300)
  const target = Math.floor((pieces * (kill - 1 + chance.fraction())) / (kills + 1))
  for (;;) {
    const download = await network.you.ask<DownloadJson>('GET', `/v1/downloads/${id}`)
    if (download.piecesDone >= target || download.state !== 'running') return
    await environment.clock.sleep(2)
  }
}

async function start({ dir, port, env }: CrashOptions): Promise<Running> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', MAIN, '--json', '--data', dir, '--port', String(port)],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } },
  )
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), died(child)])) as [string]
  const { agent, neighbour, ledger } = JSON.parse(line) as Record<string, string>
  return {
    process: child,
    you: await clientOf(dir, 'you', agent as string),
    neighbour: await clientOf(dir, 'neighbour', neighbour as string),
    ledger: createLedgerClient({ environment, url: ledger as string }),
  }
}

async function died(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null]
  throw new Error(`the network ended with ${code} before it was ready`)
}

async function killNow({ process: child }: Running): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function clientOf(dir: string, name: string, url: string): Promise<OwnerClient> {
  const home = openHome(join(dir, name))
  return createOwnerClient({ environment, url, owner: (await home.owner()).id, signer: await home.signer() })
}

const idOf = async (dir: string, name: string): Promise<string> => toHex((await openHome(join(dir, name)).owner()).id)

async function worth({ ledger }: Running, id: string): Promise<bigint> {
  const { available, frozen, earned } = await ledger.account(id)
  return available + frozen + earned
}

async function finished({ you }: Running, id: string): Promise<DownloadJson> {
  const deadlineMs = environment.clock.now() + FINISH_MS
  for (;;) {
    const download = await you.ask<DownloadJson>('GET', `/v1/downloads/${id}`)
    if (download.state === 'done') return download
    if (download.state === 'failed' || environment.clock.now() > deadlineMs) {
      throw new Error(`the download is ${download.state}: ${download.reason ?? ''}`)
    }
    await environment.clock.sleep(50)
  }
}

async function settled({ you, neighbour }: Running): Promise<void> {
  const deadlineMs = environment.clock.now() + FINISH_MS
  for (;;) {
    const { frozen } = await you.ask<{ frozen: string }>('GET', '/v1/balance')
    const { outstanding } = await neighbour.ask<{ outstanding: string }>('GET', '/v1/balance')
    if (frozen === '0' && outstanding === '0') return
    if (environment.clock.now() > deadlineMs)
      throw new Error(`not settled: ${frozen} frozen, ${outstanding} outstanding`)
    await environment.clock.sleep(50)
  }
}

async function checkpointOf(ledger: LedgerClient): Promise<Checkpoint> {
  const { vkey } = await ledger.info()
  return parseCheckpoint(openNote(await ledger.checkpoint(), [parseVerifierKey(vkey)]).text)
}

async function arePrefixes(ledger: LedgerClient, seen: readonly Checkpoint[], last: Checkpoint): Promise<boolean> {
  const leaves: Bytes[] = []
  for (let index = 0; index * limits.entriesPerTile < last.size; index++) {
    const width = tileWidth('entries', index, last.size)
    leaves.push(...decodeBundle(await ledger.tile(tilePath({ level: 'entries', index, width })), width).map(leafHash))
  }
  return [...seen, last].every(({ size, rootHash }) =>
    equal(frontierRoot(append(EMPTY_FRONTIER, leaves.slice(0, size))), rootHash),
  )
}

/** Random bytes, from folder to folder. */
export function fileGoods(dir: string, bytes: number): Goods {
  const path = 'crash.bin'
  const source = join(dir, 'neighbour', 'files', path)
  return {
    path,
    from: 'folder',
    to: 'folder',
    place: async () => makeFile(source, bytes),
    isSame: async (name) => (await sha256(source)) === (await sha256(join(dir, 'you', 'files', name))),
  }
}

function makeFile(path: string, bytes: number): void {
  const file = openSync(path, 'w')
  const run = 16 * 1024 * 1024
  for (let at = 0; at < bytes; at += run) writeSync(file, randomBytes(Math.min(run, bytes - at)))
  closeSync(file)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
