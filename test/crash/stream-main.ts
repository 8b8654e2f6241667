/**
 * `node test/crash/stream-main.ts [--bytes N] [--kills N] [--seed S]`: one file from S3 to Drive by an agent that is killed
 * with -9 on the way. Its memory stays flat whatever the size, and a crash costs one part that is read again. Exit code 1 otherwise.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PART_BYTES } from '../../agent/storage/drive-writes.ts'
import { startAgent, startServices } from '../bench/agents.ts'
import { peakMiB } from '../bench/processes.ts'
import { createChance } from '../simulation/chance.ts'
import { isSameContent, linkTo, startClouds } from './clouds.ts'

interface Copy {
  readonly id: string
  readonly state: string
  readonly done: number
  readonly detail?: string
}

const PEAK_MIB_MOST = 250
const POLL_MS = 50
const NAME = 'film.bin'

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '314572800' },
    kills: { type: 'string', default: '4' },
    seed: { type: 'string', default: String(Date.now()) },
  },
})
const chance = createChance(values.seed)
const [bytes, kills] = [Number(values.bytes), Number(values.kills)]
const dir = mkdtempSync(join(tmpdir(), 'raincheck-stream-'))
const clouds = await startClouds(bytes)
const [s3, drive] = [clouds.of('s3'), clouds.of('drive')]
await s3.put('seller', NAME, clouds.content)
const services = await startServices(dir)
const startOwn = () => startAgent(dir, 'owner', services, clouds.env)
let agent = await startOwn()
let peak = 0

async function until(id: string, isReached: (copy: Copy) => boolean): Promise<void> {
  for (;;) {
    const copy = await agent.owner.ask<Copy>('GET', `/v1/copies/${id}`)
    assert.notEqual(copy.state, 'failed', copy.detail)
    peak = Math.max(peak, peakMiB(agent.child))
    if (isReached(copy)) return
    await pause(POLL_MS)
  }
}

try {
  console.log(`seed ${values.seed}`)
  await linkTo(agent.owner, s3, 'seller')
  await linkTo(agent.owner, drive, 'buyer')
  const startedMs = performance.now()
  const order = { from: { link: 's3', path: NAME }, to: { link: 'drive' } }
  const { id } = await agent.owner.ask<Copy>('POST', '/v1/copies', order)
  for (let kill = 1; kill <= kills; kill++) {
    const target = (bytes * (kill - chance.fraction())) / (kills + 1)
    await until(id, ({ done }) => done >= target)
    await agent.child.stop('SIGKILL')
    agent = await startOwn()
  }
  await until(id, ({ state }) => state === 'done')
  const seconds = (performance.now() - startedMs) / 1000
  const again = (s3.bytesRead() - bytes) / PART_BYTES
  console.log(
    `${bytes} bytes from S3 to Drive in ${seconds.toFixed(0)} s, killed ${kills} times: ` +
      `${peak.toFixed(0)} MiB of memory at most, ${again.toFixed(1)} parts read again`,
  )
  assert.ok(isSameContent(clouds.content, drive.find('buyer', NAME)), 'other bytes came')
  assert.deepEqual(await drive.leftovers(), [])
  assert.ok(peak < PEAK_MIB_MOST, `more than ${PEAK_MIB_MOST} MiB`)
  assert.ok(again <= kills, 'more than a part was read again for a crash')
} finally {
  for (const child of [agent.child, ...services.toReversed()]) await child.stop()
  await clouds.close()
  rmSync(dir, { recursive: true, force: true })
}
