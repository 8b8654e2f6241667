/** The ledger as a process: its settings, its end, and kill -9 under load. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openStore } from '../../infra/store/open.ts'
import { sha256 } from '#primitives'
import { isWaiting } from '../../ledger/pending.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { parseReceipt } from '../../protocol/receipt.ts'
import { envelopeFromJson, envelopeToJson, signerFrom } from '../../protocol/signed.ts'
import { auditStore } from './audit.ts'

const entryPoint = fileURLToPath(new URL('../../ledger/node.ts', import.meta.url))

let folder: string
const started: ChildProcess[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-ledger-'))
})
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true })
})

const settings = () => ({
  PATH: process.env['PATH'],
  PORT: '0',
  LEDGER_STORE: `sqlite:${join(folder, 'store.sqlite')}`,
  LEDGER_KEY_FILE: join(folder, 'key'),
  LEDGER_ORIGIN: 'test.example/ledger',
  LEDGER_FAUCET: '100',
})

async function start(
  env: Record<string, string | undefined> = settings(),
): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entryPoint], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.push(child)
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => ['{}'])])) as [string]
  return { child, url: (JSON.parse(line) as { url: string }).url }
}

async function register(url: string, name: string): Promise<string> {
  const identity = envelopeToJson(genesis([signerFrom(sha256(utf8(name)))], Date.now()))
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/v1/accounts`, { method: 'POST', headers, body: JSON.stringify({ identity }) })
  const { receipt } = (await response.json()) as { receipt: unknown }
  return toHex(parseReceipt(envelopeFromJson(receipt)).entry)
}

test('starts on its settings, keeps its key to itself, ends on SIGTERM with 0 and comes back the same', async () => {
  const first = await start()
  const ledger = (await (await fetch(`${first.url}/v1/ledger`)).json()) as Record<string, unknown>
  expect(ledger).toMatchObject({ origin: 'test.example/ledger', faucet: '100' })
  expect((await stat(join(folder, 'key'))).mode & 0o777).toBe(0o600)
  first.child.kill('SIGTERM')
  expect(await once(first.child, 'exit')).toEqual([0, null])
  const second = await start()
  expect(await (await fetch(`${second.url}/v1/ledger`)).json()).toEqual(ledger)
})

test('says in one line what setting is missing', async () => {
  const env = { ...settings(), LEDGER_STORE: undefined }
  const child = spawn(process.execPath, [entryPoint], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const lines: string[] = []
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => lines.push(line))
  const [code] = (await once(child, 'close')) as [number]
  expect(code).toBe(2)
  expect(lines.filter((line) => line.startsWith('raincheck'))).toEqual([expect.stringContaining('LEDGER_STORE')])
})

test('keeps every entry that it gave a receipt for, whenever it is killed', async () => {
  const promised: string[] = []
  for (let life = 0; life < 3; life++) {
    const { child, url } = await start()
    const burst = Array.from({ length: 40 }, (_, i) =>
      register(url, `person ${life} ${i}`).then((entry) => promised.push(entry)),
    )
    await Promise.all(burst.slice(0, 5 + 10 * life))
    child.kill('SIGKILL')
    await Promise.allSettled(burst)
  }
  const { child } = await start()
  const store = await openStore(settings().LEDGER_STORE)
  await expect.poll(() => isWaiting(store), { timeout: limits.mergeDelayMs }).toBe(false)
  child.kill('SIGTERM')
  await once(child, 'exit')
  const entries = new Set<string>()
  const replica = await auditStore(store, (entry) => entries.add(entry))
  store.close()
  expect(replica.size()).toBe(entries.size)
  expect(promised.filter((entry) => !entries.has(entry))).toEqual([])
  expect(promised.length).toBeGreaterThanOrEqual(5 + 15 + 25)
})
