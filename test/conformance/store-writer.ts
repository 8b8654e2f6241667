/** A process that writes to a store until it is done or killed, and says on stdout what was acknowledged. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openStore } from '../../infra/store/open.ts'
import { fromUtf8, utf8 } from '../../protocol/bytes.ts'
import type { Item, Store } from '../../protocol/store.ts'

interface Writing {
  readonly pk: string
  readonly writes: number
}

interface Writer {
  /** The exit code. */
  readonly ended: Promise<number | null>
  /** Kills the process with SIGKILL once so many writes were acknowledged. @returns the latest acknowledged number */
  killAfter(writes: number): Promise<number>
}

export const numberIn = (item: Item | undefined): number => (item ? Number(fromUtf8(item.body)) : 0)

/** Adds 1 to two items in one write, with a third that logs it; again until no other writer came first. */
export async function increment(store: Store, pk: string): Promise<number> {
  for (;;) {
    const [a, b] = await Promise.all([store.get(pk, 'a'), store.get(pk, 'b')])
    const next = numberIn(a) + 1
    const body = utf8(String(next))
    const written = await store.write([
      { pk, sk: 'a', expect: a?.version ?? 0, body },
      { pk: 'log', sk: `${pk} ${next}`, expect: 0, body },
      { pk, sk: 'b', expect: b?.version ?? 0, body },
    ])
    if (written) return next
  }
}

export function startWriter(spec: string, { pk, writes }: Writing): Writer {
  const args = ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), spec, pk, String(writes)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve, reject) => child.once('exit', resolve).once('error', reject))
  return {
    ended,
    async killAfter(count) {
      let acknowledged = 0
      let seen = 0
      for await (const line of createInterface(child.stdout)) {
        acknowledged = Number(line)
        seen += 1
        if (seen === count) child.kill('SIGKILL')
      }
      await ended
      return acknowledged
    },
  }
}

async function main([spec = '', pk = '', writes = '']: readonly string[]): Promise<void> {
  const store = await openStore(spec)
  for (let i = 0; i < Number(writes); i++) process.stdout.write(`${await increment(store, pk)}\n`)
  store.close()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2))
