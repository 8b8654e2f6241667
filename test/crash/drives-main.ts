/**
 * A paid download from a Drive into a Dropbox, and one the other way, of servers in this process; the network is killed with -9
 * all along. Right bytes, each piece paid for once, nothing left behind, and the log holds.
 */
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../local/ports.ts'
import { pattern } from '../pattern.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive } from '../servers/drive.ts'
import { FOLDER } from '../servers/drive-state.ts'
import { DROPBOX_CLIENT, DROPBOX_SCOPE, startDropbox } from '../servers/dropbox.ts'
import { bytesContent, digestOf } from '../servers/s3-content.ts'

interface Download {
  readonly id: string
  readonly state: string
  readonly paid: string
}

const BYTES = 60_000_000
const KILLS_MOST = 20
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NODE = ['--disable-warning=ExperimentalWarning']

const [drive, dropbox] = await Promise.all([startDrive(), startDropbox()])
const dir = await mkdtemp(join(tmpdir(), 'raincheck-drives-'))
const port = await freePort()
const env = {
  ...process.env,
  RAINCHECK_GOOGLE_API_URL: drive.url,
  RAINCHECK_GOOGLE_TOKEN_URL: drive.url,
  RAINCHECK_DROPBOX_API_URL: dropbox.url,
  RAINCHECK_DROPBOX_CONTENT_URL: dropbox.url,
}

async function start(): Promise<ChildProcess> {
  const words = ['infra/local/main.ts', '--data', dir, '--port', String(port), '--json']
  const child = spawn(process.execPath, [...NODE, ...words], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'ignore'] })
  await once(child.stdout, 'data')
  return child
}

async function raincheck<T>(owner: string, ...words: string[]): Promise<T> {
  const argv = [...NODE, 'agent/cli/main.ts', ...words, '--json']
  const settings = { cwd: ROOT, env: { ...env, RAINCHECK_HOME: join(dir, owner) } }
  return JSON.parse((await promisify(execFile)(process.execPath, argv, settings)).stdout) as T
}

let network = await start()

async function kill(signal: NodeJS.Signals): Promise<void> {
  network.kill(signal)
  await once(network, 'close')
}

async function buy(seller: string, from: string, buyer: string, to: string, file: string): Promise<string> {
  type Share = { infoHash: string; pieces: number }
  const share = await raincheck<Share>(seller, 'share', file, '--link', from, '--price', '1')
  const { id } = await raincheck<Download>(buyer, 'get', share.infoHash, '--link', to)
  for (let kills = 0; ; kills++) {
    await pause(150 + Math.random() * 500)
    const [latest] = (await raincheck<Download[]>(buyer, 'downloads')).filter((one) => one.id === id)
    assert.notEqual(latest?.state, 'failed')
    if (latest?.state === 'done') {
      assert.equal(latest.paid, String(share.pieces))
      return `${from} -> ${to}: killed ${kills} times, ${share.pieces} pieces, ${latest.paid} credits`
    }
    if (kills >= KILLS_MOST) continue
    await kill('SIGKILL')
    network = await start()
  }
}

const tokens = { drive: drive.oauth.grant(DRIVE_FILE_SCOPE), dropbox: dropbox.oauth.grant(DROPBOX_SCOPE) }
const driveWords = ['--client-id', DRIVE_CLIENT.id, '--client-secret', DRIVE_CLIENT.secret]
await raincheck('neighbour', 'link', 'drive', ...driveWords, '--refresh-token', tokens.drive.refreshToken)
await raincheck(
  'you',
  'link',
  'dropbox',
  '--app-key',
  DROPBOX_CLIENT.id,
  '--refresh-token',
  tokens.dropbox.refreshToken,
)

const [film, song] = [pattern(BYTES, 1), pattern(BYTES, 2)]
const folder = drive.state.create({ name: 'Raincheck', mimeType: FOLDER })
drive.state.create({ name: 'film', parents: [folder.id], content: bytesContent(film) })
dropbox.state.write('/song', bytesContent(song))
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

try {
  console.log(await buy('neighbour', 'drive', 'you', 'dropbox', 'film'))
  console.log(await buy('you', 'dropbox', 'neighbour', 'drive', 'song'))
  const bought = [
    dropbox.state.get('/film')?.content,
    drive.state.files.values().find(({ name }) => name === 'song')?.content,
  ]
  assert.deepEqual(
    bought.map((content) => content && digestOf('sha256', content).toString('hex')),
    [sha256(film), sha256(song)],
  )
  assert.deepEqual(
    [drive.sessions(), [...dropbox.state.entries.keys()].filter((key) => key.includes('partial/'))],
    [[], []],
  )
  assert.equal((await raincheck<{ ok: boolean }>('you', 'audit')).ok, true)
} finally {
  await kill('SIGTERM')
  await Promise.all([drive.close(), dropbox.close()])
  await rm(dir, { recursive: true })
}
