/**
 * `node test/bundle/main.ts [--seed S] [--bytes N]`: paid downloads between two deployed agents, through repository and ledger, while
 * instances of all functions are killed at random. Sealed pieces pass the seller's function; on credit they come by links
 * to its bucket; both are spread over two workers, and one download, to a Drive, is not. Right bytes, each piece paid for once, and the log holds.
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { auditLedger } from '../../agent/cli/audit.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive } from '../servers/drive.ts'
import { digestOf } from '../servers/s3-content.ts'
import { createChance } from '../simulation/chance.ts'
import type { Bounds } from './function-host.ts'
import { again, exchange, hashOf, openExchange, putFile, type DownloadJson } from './exchange.ts'
import { synthesize } from './synth.ts'

const MIB = 1024 * 1024
const PRICE = 2
/** Of all instances, while a download is under way; of its workers. */
const KILLED = 0.03
const FORGOTTEN = 0.02
const WORKERS_KILLED = 0.5
/** So many workers run out of time, in the middle of what they do, which is 15 minutes otherwise. */
const TIMED_OUT = 2
const SHORT_MS = 6_000

const { values } = parseArgs({
  options: { seed: { type: 'string', default: 'bundle' }, bytes: { type: 'string', default: String(300 * MIB) } },
})
const bytes = Number(values.bytes)
const chance = createChance(values.seed)
let isRough = false
const kills = { instances: 0, workers: 0 }
const killing =
  (what: keyof typeof kills, probability: number) =>
  (mostMs: number): number | undefined => {
    if (!isRough || !chance.hits(probability)) return undefined
    kills[what]++
    return chance.fraction() * mostMs
  }
const fate = {
  after: () => isRough && chance.hits(FORGOTTEN),
  twice: () => isRough,
  midway: killing('instances', KILLED),
  atWork: killing('workers', WORKERS_KILLED),
}

const drive = await startDrive()
const variables = { RAINCHECK_GOOGLE_API_URL: drive.url, RAINCHECK_GOOGLE_TOKEN_URL: drive.url }
const world = await openExchange(await synthesize(), { fate, variables })
const { you, neighbour, cloud } = world
const timeOuts = (): number => cloud.log.filter((line) => line.startsWith('durable: Task timed out')).length
const untilSome: Bounds = {
  get timeoutMs() {
    return timeOuts() < TIMED_OUT ? SHORT_MS : 15 * 60_000
  },
}
cloud.bounds.set('raincheck-network-you/download', untilSome)
const ledger = createLedgerClient({ environment: realEnvironment(), url: world.ledger.outputs['Url'] ?? '' })

/** @returns the file's SHA-256, and the download */
async function buy(name: string, size: number, link?: string): Promise<readonly [string, DownloadJson]> {
  const started = performance.now()
  const hash = await putFile(world, name, size)
  isRough = true
  const download = await exchange(world, name, link === undefined ? {} : { link }).finally(() => (isRough = false))
  const pieces = Math.ceil(size / limits.pieceBytesDefault)
  assert.deepEqual([download.pieces, download.ticks, download.paid], [pieces, pieces, String(pieces * PRICE)])
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const killed = `${kills.instances} instances and ${kills.workers} workers killed so far, ${timeOuts()} out of time`
  console.log(`${name}: ${size} bytes, ${download.ticks} ticks, ${killed}, ${seconds} s`)
  return [hash, download]
}

try {
  console.log(`seed ${values.seed}`)
  const [sealed] = await buy('sealed.bin', bytes + 17)
  assert.equal(await hashOf(world, 'sealed.bin', bytes + 17), sealed)

  await neighbour.owner.command('vouch', you.owner.id, '--credit', '64')
  const [linked] = await buy('linked.bin', bytes - 1)
  assert.equal(await hashOf(world, 'linked.bin', bytes - 1), linked)

  const { refreshToken } = drive.oauth.grant(DRIVE_FILE_SCOPE)
  const secret = { refreshToken, clientSecret: DRIVE_CLIENT.secret }
  await again(() => you.owner.ask('POST', '/v1/links', { kind: 'drive', clientId: DRIVE_CLIENT.id, secret }))
  const [driven] = await buy('drive.bin', 24 * MIB + 5, 'drive')
  const stored = drive.state.files.values().find(({ name }) => name === 'drive.bin')?.content
  assert.equal(stored && digestOf('sha256', stored).toString('hex'), driven)
  assert.deepEqual(drive.sessions(), [])

  await world.ledger.tick('sequence')
  const audit = await auditLedger(ledger)
  assert.deepEqual([audit.ok, audit.problems], [true, []])
  assert.ok(kills.instances > 0 && kills.workers > 0 && timeOuts() >= TIMED_OUT)
} finally {
  await world.cloud.close()
  await drive.close()
}
