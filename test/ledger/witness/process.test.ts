/** The witness as a process: its settings, and what it remembers after kill -9. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { formatVerifierKey, parseSignatureLines, parseVerifierKey } from '../../../protocol/checkpoint.ts'
import { readCosignatures } from '../../../protocol/cosignature.ts'
import { testLog } from './kit.ts'

const entryPoint = fileURLToPath(new URL('../../../ledger/witness/node.ts', import.meta.url))
const log = testLog()

let folder: string
const started: ChildProcess[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-witness-'))
  await writeFile(join(folder, 'logs'), `# what to follow\nlog ${formatVerifierKey(log.key)}\nquorum none\n`)
})
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true })
})

const settings = () => ({
  PATH: process.env['PATH'],
  PORT: '0',
  WITNESS_STORE: `sqlite:${join(folder, 'store.sqlite')}`,
  WITNESS_KEY_FILE: join(folder, 'key'),
  WITNESS_NAME: 'witness.example/w1',
  WITNESS_LOGS: join(folder, 'logs'),
})

interface Up {
  readonly child: ChildProcess
  readonly url: string
  readonly vkey: string
}

async function start(): Promise<Up> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entryPoint], {
    env: settings(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  started.push(child)
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => ['{}'])])) as [string]
  return { child, ...(JSON.parse(line) as Pick<Up, 'url' | 'vkey'>) }
}

const ask = ({ url }: Up, oldSize: number, size: number, by = log) =>
  fetch(`${url}/add-checkpoint`, { method: 'POST', body: by.request(oldSize, size) })

test('remembers what it cosigned whenever it is killed, and signs no fork of it', async () => {
  const fork = testLog(log.origin, ' otherwise', 1)
  let size = 0
  for (let life = 0; life < 2; life++) {
    const witness = await start()
    for (let step = 0; step < 3; step++) {
      const response = await ask(witness, size, size + 1)
      const found = readCosignatures(log.text(size + 1), parseSignatureLines(await response.text()), [
        parseVerifierKey(witness.vkey, 'cosignature'),
      ])
      expect(found).toHaveLength(1)
      size++
    }
    const killed = ask(witness, size, size + 1)
    witness.child.kill('SIGKILL')
    await killed.catch(() => undefined)
    await once(witness.child, 'exit').catch(() => undefined)
    const next = await start()
    const forked = await ask(next, size, size + 1, fork)
    expect(forked.status).toBeOneOf([409, 422])
    const known = await ask(next, 0, size)
    expect(known.status).toBe(409)
    size = Number(await known.text())
    next.child.kill('SIGKILL')
  }
})

test('says in one line which setting is missing', async () => {
  const env = { ...settings(), WITNESS_LOGS: undefined }
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', entryPoint], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  expect({ code, said }).toEqual({ code: 2, said: 'raincheck witness: set WITNESS_LOGS\n' })
})
