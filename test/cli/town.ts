/** A local network and its two owners, each with the command `raincheck` at hand. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { run } from '../../agent/cli/cli.ts'
import type { ProviderHosts } from '../../agent/storage/providers.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { startNetwork, type Network } from '../../infra/local/network.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { freePort } from '../local/ports.ts'
import { scratch } from '../local/scratch.ts'
import type { Store } from '../../protocol/store.ts'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
  /** The one document on stdout. */
  json<T = Record<string, unknown>>(): T
}

export interface Io {
  readonly environment: Environment
  readonly signal: AbortSignal
  readonly isTerminal: boolean
  readonly agentUrl: string
  readonly passphraseFile: string
  readonly workingDir: string
  readonly openStore: (path: string) => Promise<Store>
  /** Told what the command says on its way. */
  readonly onErr: (text: string) => void
}

export interface Person {
  readonly home: string
  readonly files: string
  readonly id: () => string
  /** `raincheck` in this owner's home. */
  readonly raincheck: (...words: string[]) => Promise<Said>
  readonly with: (io: Partial<Io>) => Person['raincheck']
  /** The document of `raincheck … --json`, which must end with 0. */
  readonly ask: <T = Record<string, unknown>>(...words: string[]) => Promise<T>
  /** Puts a file of `bytes` different bytes into the linked folder. */
  readonly put: (path: string, bytes: number) => Promise<Uint8Array>
}

export interface Town {
  readonly dir: string
  readonly port: number
  readonly network: () => Network
  readonly you: Person
  readonly neighbour: Person
  readonly stop: () => Promise<void>
  readonly start: () => Promise<void>
  /** Faults that no caller was told of. */
  readonly faults: readonly unknown[]
  /** Those so far, which a test expects. */
  readonly takeFaults: () => readonly unknown[]
}

const environment = realEnvironment()

/** The command in any home, settings or none. */
export async function raincheck(homeDir: string, words: readonly string[], io: Partial<Io> = {}): Promise<Said> {
  const said = { out: '', err: '' }
  const code = await run(words, {
    environment,
    homeDir,
    workingDir: homeDir,
    signal: new AbortController().signal,
    isTerminal: false,
    monotonicMs: () => performance.now(),
    out: (text) => void (said.out += text),
    err: (text) => {
      said.err += text
      io.onErr?.(text)
    },
    ...io,
  })
  return { code, ...said, json: <T>() => JSON.parse(said.out) as T }
}

/** Runs while the tests of the file do. */
/** @param hosts where the providers of storage answer; asked at each start */
export function openTown(hosts?: () => ProviderHosts): Town {
  const dir = scratch()()
  const faults: unknown[] = []
  const place = { port: 0 }
  let network: Network | undefined

  async function start(): Promise<void> {
    place.port ||= await freePort()
    const onFault = (fault: unknown) => faults.push(fault)
    network = await startNetwork({ environment, dir, port: place.port, hosts: hosts?.(), onFault })
  }
  async function stop(): Promise<void> {
    await network?.stop()
    network = undefined
  }
  function running(): Network {
    if (!network) throw new Error('the network is not running')
    return network
  }
  beforeAll(start)
  afterAll(async () => {
    await stop()
    expect(faults).toEqual([])
  })
  return {
    dir,
    get port() {
      return place.port
    },
    network: running,
    you: person(join(dir, 'you'), () => toHex(running().you.agent.context.owner)),
    neighbour: person(join(dir, 'neighbour'), () => toHex(running().neighbour.agent.context.owner)),
    stop,
    start,
    faults,
    takeFaults: () => faults.splice(0),
  }
}

function person(home: string, id: () => string): Person {
  const files = join(home, 'files')
  return {
    home,
    files,
    id,
    raincheck: (...words) => raincheck(home, words),
    with:
      (io) =>
      (...words) =>
        raincheck(home, words, io),
    async ask<T>(...words: string[]) {
      const said = await raincheck(home, [...words, '--json'])
      expect({ words, ...said }).toMatchObject({ words, code: 0, err: '' })
      return said.json<T>()
    },
    async put(path, bytes) {
      const content = environment.random.bytes(bytes)
      await mkdir(dirname(join(files, path)), { recursive: true })
      await writeFile(join(files, path), content)
      return content
    },
  }
}

export const sleep = (ms: number): Promise<void> => environment.clock.sleep(ms)

/** Asks again until it holds. */
export async function eventually<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (holds(answer)) return answer
    await sleep(20)
  }
}
