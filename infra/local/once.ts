/** One paid download from the neighbour to you, settled and audited: what `npm start -- --once FILE` does. */
import { constants, createReadStream } from 'node:fs'
import { cp, mkdtemp, readdir, stat } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { basename, join, relative, resolve } from 'node:path'
import { auditLedger } from '../../agent/cli/audit.ts'
import { hintOn, isStuck } from '../../agent/cli/commands/downloads.ts'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import { makeFolder } from '../../agent/make-folder.ts'
import { createLedgerClient, statementOf, type LedgerClient } from '../../agent/clients/ledger-client.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Network, Resident } from './network.ts'

export interface OnceReport {
  readonly event: 'done'
  readonly infoHash: string
  readonly infoHashV1: string
  readonly name: string
  readonly bytes: number
  readonly pieceLength: number
  readonly pieces: number
  readonly ticks: number
  readonly paid: string
  /** Absolute path of the copy. */
  readonly file: string
  /** Of the file; of a folder: of its `sha256sum` lines (`HASH  PATH\n`, paths relative to it, in bytewise order). */
  readonly sha256: string
  readonly seconds: number
  readonly payer: Movement
  readonly payee: Movement
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly rootHash: string }
  readonly audit: 'ok'
}

interface Movement {
  readonly id: string
  readonly before: string
  readonly after: string
}

interface ShareJson {
  infoHash: string
  infoHashV1: string
  name: string
  bytes: number
  pieceLength: number
  pieces: number
}

export interface ProgressJson {
  id: string
  state: string
  reason?: string
  detail?: string
  name: string
  bytes: number
  done: number
  paid: string
  ticks: number
  file?: string
  bytesPerSecond?: number
  secondsLeft?: number
}

const POLL_MS = 50
/** Looks in a row that find it so, before it is believed that only its owner can make it go on. */
const PATIENCE = 40
const SETTLED_WITHIN_MS = 60_000

export interface OnceOptions {
  readonly environment: Environment
  readonly network: Network
  readonly file: string
  readonly onProgress: (download: ProgressJson) => void
}

/** @throws Problem `not-found` for a missing FILE; `peer-failed` when the download fails or the audit finds fault */
export async function once({ environment, network, file, onProgress }: OnceOptions): Promise<OnceReport> {
  const ledger = createLedgerClient({ environment, url: network.ledgerUrl })
  const [you, neighbour] = [await clientOf(environment, network.you), await clientOf(environment, network.neighbour)]
  const before = { payer: await worth(ledger, network.you), payee: await worth(ledger, network.neighbour) }
  const path = await placeCopy(file, network.neighbour.files)

  const share = await neighbour.ask<ShareJson>('POST', '/v1/shares', { path })
  const startedMs = environment.clock.now()
  const download = await finished(environment, you, share.infoHash, onProgress)
  const seconds = (environment.clock.now() - startedMs) / 1000
  await settled(environment, ledger, network, [you, neighbour])

  const after = { payer: await worth(ledger, network.you), payee: await worth(ledger, network.neighbour) }
  const copy = join(network.you.files, download.file ?? share.name)
  const movement = (resident: Resident, side: 'payer' | 'payee'): Movement => ({
    id: toHex(resident.agent.context.owner),
    before: before[side].toString(),
    after: after[side].toString(),
  })
  return {
    event: 'done',
    infoHash: share.infoHash,
    infoHashV1: share.infoHashV1,
    name: share.name,
    bytes: share.bytes,
    pieceLength: share.pieceLength,
    pieces: share.pieces,
    ticks: download.ticks,
    paid: download.paid,
    file: copy,
    sha256: await sha256Of(copy),
    seconds,
    payer: movement(network.you, 'payer'),
    payee: movement(network.neighbour, 'payee'),
    ...(await audited(ledger)),
  }
}

async function clientOf(environment: Environment, { home, url, agent }: Resident): Promise<OwnerClient> {
  return createOwnerClient({ environment, url, owner: agent.context.owner, signer: await home.signer() })
}

/** All that an account holds: what a download costs is the difference. */
async function worth(ledger: LedgerClient, { agent }: Resident): Promise<bigint> {
  const account = await ledger.account(toHex(agent.context.owner))
  return account.available + account.frozen + account.earned + account.bonds
}

/** @throws Problem `not-found` unless there is a file or folder */
export async function requireSource(file: string): Promise<string> {
  const source = resolve(file)
  const found = await stat(source).catch(() => undefined)
  if (!found?.isFile() && !found?.isDirectory()) throw new Problem('not-found', `There is no file or folder ${source}.`)
  return source
}

/** A copy in a folder of its own: nothing that the neighbour has is touched, and FILE may change meanwhile. */
async function placeCopy(file: string, files: string): Promise<string> {
  const source = await requireSource(file)
  const copies = join(files, 'once')
  makeFolder(copies)
  const target = join(await mkdtemp(`${copies}/`), basename(source))
  const options = { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE }
  await cp(source, target, options).catch((error: unknown) => {
    throw new Problem('storage-unavailable', `${source} cannot be copied: ${(error as Error).message}.`)
  })
  return relative(files, target)
}

async function finished(
  environment: Environment,
  you: OwnerClient,
  infoHash: string,
  onProgress: (download: ProgressJson) => void,
): Promise<ProgressJson> {
  let download = await you.ask<ProgressJson>('POST', '/v1/downloads', { source: infoHash })
  for (let stuck = 0; download.state !== 'done'; stuck = isStuck(download) ? stuck + 1 : 0) {
    if (stuck >= PATIENCE) throw new Problem('peer-failed', `The download waits for you. ${whyOf(download)}`)
    if (download.state === 'failed' || download.state === 'cancelled') {
      throw new Problem(
        'peer-failed',
        `The download ended as ${download.state}: ${download.reason ?? 'no reason given'}.`,
      )
    }
    onProgress(download)
    await environment.clock.sleep(POLL_MS)
    download = await you.ask<ProgressJson>('GET', `/v1/downloads/${download.id}`)
  }
  onProgress(download)
  return download
}

const whyOf = (download: ProgressJson): string => `${download.detail ?? `It is ${download.state}.`}${hintOn(download)}`

interface BalanceJson {
  bonds: string
  frozen: string
  outstanding: string
}

/** Waits until nothing of the download is open at the ledger, and its log says all that moved. */
async function settled(
  environment: Environment,
  ledger: LedgerClient,
  network: Network,
  [you, neighbour]: readonly [OwnerClient, OwnerClient],
): Promise<void> {
  const deadlineMs = environment.clock.now() + SETTLED_WITHIN_MS
  for (;;) {
    const mine = await you.ask<BalanceJson>('GET', '/v1/balance')
    const theirs = await neighbour.ask<BalanceJson>('GET', '/v1/balance')
    const isClosed = mine.frozen === '0' && theirs.outstanding === '0' && theirs.bonds === '0'
    if (isClosed && (await isLogged(ledger, network.you)) && (await isLogged(ledger, network.neighbour))) return
    if (environment.clock.now() > deadlineMs) throw new Problem('peer-failed', 'The download did not settle in time.')
    await environment.clock.sleep(POLL_MS)
  }
}

/** Whether the entries in the log add up to what the account holds. */
async function isLogged(ledger: LedgerClient, { agent }: Resident): Promise<boolean> {
  const id = toHex(agent.context.owner)
  const { available } = await ledger.account(id)
  const rows = await statementOf(ledger, id)
  return rows.reduce((sum, row) => sum + BigInt(row.available), 0n) === available
}

async function audited(ledger: LedgerClient): Promise<Pick<OnceReport, 'checkpoint' | 'audit'>> {
  const { ok, origin, size, rootHash, problems } = await auditLedger(ledger)
  if (!ok) throw new Problem('peer-failed', `The audit found fault: ${problems.join('; ')}.`)
  return { checkpoint: { origin, size, rootHash }, audit: 'ok' }
}

async function sha256Of(path: string): Promise<string> {
  if ((await stat(path)).isFile()) return sha256OfFile(path)
  const names = (await readdir(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const sums = createHash('sha256')
  for (const name of names) sums.update(`${await sha256OfFile(join(path, name))}  ${name}\n`)
  return sums.digest('hex')
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
