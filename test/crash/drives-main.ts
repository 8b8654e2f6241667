/**
 * `node test/crash/drives-main.ts [--pairs FROM:TO,…] [--bytes N] [--kills N]`: a paid download from each kind of storage
 * into another, the network killed with -9 all along. Right bytes, each credit where it belongs, nothing left behind, and
 * the log holds. `--pairs all` is every kind into every kind. Exit code 1 when anything is wrong.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../local/ports.ts'
import { folderCloud, isSameContent, KINDS, linkTo, startClouds, type Cloud, type Clouds, type Kind } from './clouds.ts'
import { crash, isRight, type Goods } from './crash.ts'

type Pair = readonly [Kind, Kind]

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: 'folder:s3,s3:drive,drive:dropbox,dropbox:folder' },
    bytes: { type: 'string', default: String(100_000_000) },
    kills: { type: 'string', default: '6' },
  },
})
const [bytes, kills] = [Number(values.bytes), Number(values.kills)]

function pairsIn(words: string): readonly Pair[] {
  if (words === 'all') return KINDS.flatMap((from) => KINDS.map((to) => [from, to] as const))
  return words.split(',').map((word) => {
    const [from, to] = word.split(':').map((name) => KINDS.find((kind) => kind === name))
    if (!from || !to) throw new Error(`'${word}' is no pair of ${KINDS.join(', ')}`)
    return [from, to] as const
  })
}

function goodsOf(clouds: Clouds, dir: string, [from, to]: Pair): Goods {
  const cloudOf = (kind: Kind): Cloud => (kind === 'folder' ? folderCloud(dir) : clouds.of(kind))
  const [source, target] = [cloudOf(from), cloudOf(to)]
  const path = `${from} to ${to}.bin`
  return {
    path,
    from,
    to,
    async place({ you, neighbour }) {
      await source.put('seller', path, clouds.content)
      await linkTo(neighbour, source, 'seller')
      await linkTo(you, target, 'buyer')
    },
    async isSame(name) {
      const left = await target.leftovers()
      if (left.length > 0) console.log(`left behind: ${left.join(', ')}`)
      return left.length === 0 && isSameContent(clouds.content, target.find('buyer', name))
    },
  }
}

async function run(clouds: Clouds, pair: Pair): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'raincheck-drives-'))
  const startedMs = performance.now()
  const seconds = (): string => ((performance.now() - startedMs) / 1000).toFixed(0)
  try {
    const options = { dir, port: await freePort(), env: clouds.env, kills, price: 3n, say: () => undefined }
    const report = await crash({ ...options, goods: goodsOf(clouds, dir, pair), seed: pair.join(':') })
    const { pieces, ticks, paid, sameBytes, auditProblems } = report
    const found = `${pieces} pieces, ${ticks} ticks, ${paid} credits, bytes ${sameBytes ? 'same' : 'OTHERS'}`
    const audit = auditProblems.length === 0 ? 'ok' : auditProblems.join('; ')
    const verdict = isRight(report) ? 'right' : 'WRONG'
    console.log(
      `${pair.join(' -> ').padEnd(20)} ${verdict}: killed ${kills} times, ${found}, audit ${audit}, ${seconds()} s`,
    )
    return isRight(report)
  } catch (error) {
    console.log(`${pair.join(' -> ').padEnd(20)} FAILED after ${seconds()} s: ${(error as Error).message}`)
    return false
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const clouds = await startClouds(bytes)
const failed: Pair[] = []
for (const pair of pairsIn(values.pairs)) if (!(await run(clouds, pair))) failed.push(pair)
await clouds.close()
process.exitCode = failed.length > 0 ? 1 : 0
