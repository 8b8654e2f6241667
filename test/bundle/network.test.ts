import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditLedger } from '../../agent/cli/audit.ts'
import { policyText } from '../../infra/lambda/policy-setting.ts'
import { toHex } from '../../protocol/bytes.ts'
import { formatVerifierKey, noteKey, openNote, parseVerifierKey } from '../../protocol/checkpoint.ts'
import { parseTorrent } from '../../protocol/metainfo.ts'
import { parseLogPolicy, requireWitnessed } from '../../protocol/log-policy.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive, type DriveServer } from '../servers/drive.ts'
import { createChance } from '../simulation/chance.ts'
import {
  again,
  exchange,
  hashOf,
  openExchange,
  putFile,
  type DownloadJson,
  type Exchange,
  type Party,
} from './exchange.ts'
import { STEADY } from './cloud.ts'
import { createOwner } from './owner.ts'
import { makeTemplateOnce, synthesizeOnce } from './synth-once.ts'

const MIB = 1024 * 1024
const BYTES = 9 * MIB + 17
const LOOK_MS = 250
const chance = createChance('what the stacks deploy')
/** Instances come fresh for every sixth event or so: nothing may rest in their memory. What nobody waits for comes twice. */
const FORGETFUL = { ...STEADY, after: () => chance.hits(0.15), twice: () => true }
/** Verifier key of a witness that has cosigned nothing. */
const stranger = formatVerifierKey(
  noteKey('stranger.example/w1', signerFrom(new Uint8Array(32).fill(7)).key, 'cosignature'),
)
let world: Exchange
let drive: DriveServer

beforeAll(async () => {
  // Your agent comes of the one-file template, the neighbour's of its bundle.
  drive = await startDrive()
  const variables = { RAINCHECK_GOOGLE_API_URL: drive.url, RAINCHECK_GOOGLE_TOKEN_URL: drive.url }
  const yours = (await makeTemplateOnce()).template
  world = await openExchange(await synthesizeOnce(), { fate: FORGETFUL, yours, variables })
}, 180_000)
afterAll(async () => {
  await world?.cloud.close()
  await drive?.close()
})

const ledgerAt = ({ ledger }: Exchange) =>
  createLedgerClient({ environment: realEnvironment(), url: ledger.outputs['Url'] ?? '' })

/**
 * A download that has come as far as its owner's cap lets it, prepaid.
 * @returns the credits paid, and those that the seller holds in ticks
 */
async function halfSold(world: Exchange): Promise<readonly string[]> {
  const { cloud, you, neighbour } = world
  const cutOff = () =>
    cloud.log.filter((line) => line.startsWith('raincheck-network-neighbour/Main') && line.includes('Task timed out'))
      .length
  neighbour.stack.update({ SellModes: 'prepaid' })
  await putFile(world, 'long.bin', 10 * BYTES)
  const shared = () => neighbour.owner.ask<{ infoHash: string }>('POST', '/v1/shares', { path: 'long.bin', price: '2' })
  const { infoHash } = await again(shared)
  // The link to the first piece fails, so the function sends it: in too little time, and is cut off in the middle, paid as it is.
  cloud.s3Faults.next('read', { kind: 'refuse', why: 'denied' })
  cloud.bounds.set('raincheck-network-neighbour/main', { timeoutMs: 1000, bytesPerSecond: 2 * MIB })
  const { spend } = await again(() => you.owner.ask<{ spend: { used: string } }>('GET', '/v1/guard'))
  await again(() => you.owner.ask('PUT', '/v1/guard', { spend: String(Number(spend.used) + 8) }))
  let download = await again(() => you.owner.ask<DownloadJson>('POST', '/v1/downloads', { source: infoHash }))
  while (download.state !== 'waiting' || download.piecesDone < 4) {
    await setTimeout(LOOK_MS)
    download = await again(() => you.owner.ask<DownloadJson>('GET', `/v1/downloads/${download.id}`))
    if (cutOff() > 0) cloud.bounds.clear()
  }
  cloud.bounds.clear()
  expect(cutOff()).toBeGreaterThan(0)
  const { outstanding } = await again(() => neighbour.owner.ask<{ outstanding: string }>('GET', '/v1/balance'))
  return [download.paid, outstanding]
}

describe('what the stacks deploy', () => {
  it('belongs to its owner from the claim on, and to nobody else', async () => {
    const { outputs } = world.you.stack
    const thief = await createOwner(outputs['Url'] ?? '')
    expect(await thief.claim('a wrong secret')).toMatchObject({ code: 'conflict' })
    expect(await thief.claim(outputs['ClaimSecret'])).toMatchObject({ code: 'conflict' })
    expect(await world.you.owner.claim()).toMatchObject({ id: world.you.owner.id })
    const asked = again(() => thief.ask('GET', '/v1/balance'))
    await expect(asked).rejects.toMatchObject({ code: 'unknown-key' })
  })

  it('moves a file from bucket to bucket, paid a tick a piece, settled on an audited ledger', async () => {
    const hash = await putFile(world, 'film.bin', BYTES)
    const download = await exchange(world, 'film.bin')
    expect(download).toMatchObject({ state: 'done', ticks: 3, paid: '6', file: 'film.bin' })
    expect(await hashOf(world, 'film.bin', BYTES)).toBe(hash)
    await world.ledger.tick('sequence')
    const ledger = ledgerAt(world)
    expect(await ledger.account(world.you.owner.id)).toMatchObject({ available: 99_994n, frozen: 0n })
    expect(await ledger.account(world.neighbour.owner.id)).toMatchObject({ available: 100_006n, earned: 0n })
    expect(await auditLedger(ledger)).toMatchObject({ ok: true, problems: [] })
  }, 180_000)

  it('watches the log of its ledger, and deals with none that its witnesses do not vouch for', async () => {
    const { cloud, ledger, you } = world
    const { Url: url = '', Witnesses: witnesses = '' } = ledger.outputs
    const { vkey } = (await (await fetch(`${url}/v1/ledger`)).json()) as { vkey: string }
    const note = openNote(await (await fetch(`${url}/checkpoint`)).text(), [parseVerifierKey(vkey)])
    const policy = parseLogPolicy(policyText(witnesses))
    expect(requireWitnessed(note, policy, Date.now()).cosignatures).toHaveLength(1)
    const faults = () => cloud.log.filter((line) => line.includes('0 of 1 witnesses have cosigned')).length
    await you.stack.tick('chores')
    expect(await again(() => you.owner.ask('GET', '/v1/proofs'))).toEqual([])
    expect(faults()).toBe(0)
    you.stack.update({ Witnesses: `witness W1 ${stranger} ; quorum W1` })
    await you.stack.tick('chores')
    expect(faults()).toBeGreaterThan(0)
    you.stack.update({ Witnesses: witnesses })
  }, 60_000)

  it('has its workers go by its parameters as they are now, also one that is at work', async () => {
    const { ledger, you, neighbour } = world
    await putFile(world, 'short.bin', MIB)
    const shared = () =>
      neighbour.owner.ask<{ infoHash: string }>('POST', '/v1/shares', { path: 'short.bin', price: '2' })
    const { infoHash: source } = await again(shared)
    you.stack.update({ Witnesses: `witness W1 ${stranger} ; quorum W1` })
    const { id } = await again(() => you.owner.ask<DownloadJson>('POST', '/v1/downloads', { source }))
    const look = async () => {
      await setTimeout(LOOK_MS)
      return again(() => you.owner.ask<DownloadJson>('GET', `/v1/downloads/${id}`))
    }
    const until = async (is: (download: DownloadJson) => boolean) => {
      for (let download = await look(); ; download = await look()) if (is(download)) return download
    }
    const unwitnessed = ({ state, detail }: DownloadJson) => state === 'done' || detail?.includes('witnesses') === true
    expect(await until(unwitnessed)).toMatchObject({ state: 'waiting', ticks: 0 })
    you.stack.update({ Witnesses: ledger.outputs['Witnesses'] ?? '' })
    expect(await until(({ state }) => state === 'done')).toMatchObject({ ticks: 1 })
  }, 180_000)

  it('takes no account of a repository’s log that its own witnesses do not vouch for', async () => {
    const { stack, owner } = world.you
    const seen = async () => {
      const json = { subject: owner.id, evidence: { identities: [], chains: [] } }
      const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) }
      const answer = await again(() => fetch(`${stack.outputs['Url']}/v1/chains`, init))
      return ((await answer.json()) as { checkpoint?: string }).checkpoint
    }
    stack.update({ RepositoryWitnesses: `witness W1 ${stranger} ; quorum W1` })
    expect(await seen()).toBeUndefined()
    stack.update({ RepositoryWitnesses: '' })
    expect(await seen()).toContain('\n')
  })

  it('gives what is free for all by its link, whole and in ranges, and its torrent', async () => {
    const hash = await putFile(world, 'free.bin', BYTES)
    const { owner } = world.neighbour
    const asked = { path: 'free.bin', public: true }
    const { url, torrent } = await again(() => owner.ask<{ url: string; torrent: string }>('POST', '/v1/shares', asked))
    const bytes = async (range?: string): Promise<Buffer> => {
      const reply = await again(() => fetch(url, range === undefined ? {} : { headers: { range } }))
      expect([reply.status, reply.headers.get('content-range')]).toEqual(
        range === undefined ? [200, null] : [206, `${range.replace('=', ' ')}/${BYTES}`],
      )
      return Buffer.from(await reply.arrayBuffer())
    }
    const whole = await bytes()
    expect(createHash('sha256').update(whole).digest('hex')).toBe(hash)
    const [first, last] = [3 * MIB + 1, 6 * MIB]
    expect((await bytes(`bytes=${first}-${last}`)).equals(whole.subarray(first, last + 1))).toBe(true)
    const meta = parseTorrent(new Uint8Array(await (await again(() => fetch(torrent))).arrayBuffer()))
    expect(url).toContain(toHex(meta.infoHash))
  })

  it('answers what is malformed with a problem, never with a fault', async () => {
    const url = world.you.stack.outputs['Url'] ?? ''
    const answers = [
      await fetch(`${url}/v1/pieces/zz/0`),
      await fetch(`${url}/v1/claim`, { method: 'POST', body: new Uint8Array([0, 255, 128]) }),
      await fetch(`${url}/v1/nothing%2F..%00`),
      await fetch(`${url}/v1/downloads`, { method: 'POST', body: '{' }),
    ]
    for (const answer of answers) expect([400, 401, 404]).toContain(answer.status)
    const large = await fetch(`${url}/v1/claim`, { method: 'POST', body: new Uint8Array(7 * 1024 * 1024) })
    expect(large.status).toBe(413)
  })

  it('stops at its owner’s word, whichever instance is asked, and goes on at another', async () => {
    const { owner, stack } = world.neighbour
    await again(() => owner.ask('PUT', '/v1/guard', { stopped: true, serve: 1_000_000_000 }))
    const url = `${stack.outputs['Url']}/v1/pieces/${'0'.repeat(64)}`
    const statuses = async () => Promise.all(Array.from({ length: 5 }, async () => (await fetch(url)).status))
    // An instance may hear of it two seconds later.
    for (let all = await statuses(); !all.every((status) => status === 409);) all = await statuses()
    const started = await again(() => owner.ask('PUT', '/v1/guard', { stopped: false }))
    expect(started).toMatchObject({ stopped: false, serve: { most: 1_000_000_000 } })
  })

  it('logs each request with its time as a metric, and no secret', () => {
    const { log } = world.cloud
    const lines = log.flatMap((line) => /\{"level".*\}/.exec(line)?.[0] ?? []).map((line) => JSON.parse(line) as object)
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'request', path: '/v1/claim', status: 200, Latency: expect.any(Number) }),
    )
    for (const { ClaimSecret: secret = '' } of [world.you, world.neighbour].map(({ stack }) => stack.outputs)) {
      expect(secret).not.toBe('')
      expect(log.filter((line) => line.includes(secret))).toEqual([])
    }
  })

  it('is cut off in the middle of a piece when its time is over, and paid for it once', async () => {
    expect(await halfSold(world)).toEqual(['8', '8'])
  }, 180_000)

  it('leaves nothing behind but the buckets of the owners: no tick unredeemed, no credit frozen, no token that is good', async () => {
    const { neighbour, you, repository, ledger, cloud } = world
    const books = (party: Party) => ledgerAt(world).account(party.owner.id)
    const before = await books(neighbour)
    const { refreshToken } = drive.oauth.grant(DRIVE_FILE_SCOPE)
    const secret = { refreshToken, clientSecret: DRIVE_CLIENT.secret }
    await again(() => you.owner.ask('POST', '/v1/links', { kind: 'drive', clientId: DRIVE_CLIENT.id, secret }))
    for (const { stack } of [neighbour, you])
      // What comes late finds no key, and makes none.
      await stack.remove(async () => {
        await stack.tick('chores')
        expect((await fetch(`${stack.outputs['Url']}/v1/balance`)).status).toBe(503)
      })
    const [left, right] = [await books(you), await books(neighbour)]
    expect([left.frozen, left.earned, right.frozen, right.earned]).toEqual([0n, 0n, 0n, 0n])
    expect(left.available + right.available).toBe(200_000n)
    expect(right.available - before.available).toBe(8n)
    for (const stack of [repository, ledger]) await stack.remove()
    const buckets = ['you', 'neighbour'].map((name) => `bucket raincheck-network-${name}-files`)
    expect(new Set(cloud.inventory())).toEqual(new Set(buckets))
    expect(drive.oauth.revoke(refreshToken)).toBe(false)
  }, 180_000)
})
