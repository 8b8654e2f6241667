/** A repository and a few agents in one process, under a clock that the test moves: brokers, sellers, buyers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAgent, type Agent } from '../../agent/agent.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { sha256 } from '#primitives'
import { concat, toHex, utf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Signer } from '../../protocol/signed.ts'
import { createRepository } from '../../repository/repository.ts'
import { delegationOf, person, type Person } from '../repository/people.ts'
import { handClock, START_MS, type HandClock } from './hand-clock.ts'

const REPOSITORY = 'repository.example'
const LEDGER_URL = 'https://ledger.example'
const SHORT_MS = 1000

export interface Resident {
  readonly person: Person
  readonly id: string
  readonly url: string
  readonly agent: Agent
  readonly context: AgentContext
  /** In its one link. */
  readonly folder: string
  readonly put: (name: string, bytes: Uint8Array) => Promise<void>
  /** The owner's request to their agent: status and document. */
  readonly ask: (method: string, path: string, body?: unknown) => Promise<{ status: number; json: never }>
  /** Fetches for the agent's own storage. @returns the state that it ends in, or waits in */
  readonly fetch: (infoHash: string) => Promise<{ state: string; reason?: string | undefined }>
}

type Handler = (request: Request) => Response | Promise<Response>

export interface CircleTown {
  readonly clock: HandClock
  readonly environment: Environment
  readonly open: (name: string) => Promise<Resident>
  /** Nobody is reached there from now on, or again. */
  readonly setDown: (host: string, isDown: boolean) => void
  /** Whom requests went to, and for what. */
  readonly requests: { readonly host: string; readonly path: string }[]
  /** Somebody of the test's own making. */
  readonly answer: (host: string, handler: Handler) => void
  readonly close: () => Promise<void>
}

export function openCircleTown(): CircleTown {
  const clock = handClock()
  const hosts = new Map<string, Handler>()
  const down = new Set<string>()
  const requests: CircleTown['requests'] = []
  const closers: (() => Promise<unknown>)[] = []
  let drawn = 0
  let residents = 0
  const environment: Environment = {
    clock: {
      ...clock,
      // What takes no time to speak of takes none.
      sleep: (ms, signal) => (ms <= SHORT_MS ? Promise.resolve() : clock.sleep(ms, signal)),
    },
    random: { bytes: (n) => concat(sha256(utf8(`chance ${drawn++}`)), new Uint8Array(n)).slice(0, n) },
    transport: async (request) => {
      const { host, pathname: path } = new URL(request.url)
      requests.push({ host, path })
      const answer = hosts.get(host)
      if (!answer || down.has(host)) throw new TypeError('connection refused')
      return answer(request)
    },
  }
  const repository = createRepository({ environment, store: openSqlite(':memory:') })
  hosts.set(REPOSITORY, repository.app.fetch)

  async function open(name: string): Promise<Resident> {
    const who = person(++residents)
    const host = `${name}.example`
    const url = `https://${host}`
    const folder = await mkdtemp(join(tmpdir(), `raincheck-${name}-`))
    const context: AgentContext = {
      environment,
      store: openSqlite(':memory:'),
      owner: who.id,
      operations: who.operations,
      delegation: delegationOf(who, ['announce', 'book', 'spend'], {
        issued: START_MS,
        expires: START_MS + limits.delegationMs,
      }),
      signer: who.agent,
      ledger: createLedgerClient({ environment, url: LEDGER_URL }),
      repository: createRepositoryClient({ environment, url: `https://${REPOSITORY}` }),
      publicUrl: url,
      allowLoopback: false,
    }
    const agent = createAgent(context, {
      pieceClient: pieceClientOver(environment.transport),
      pieceLength: 16_384,
      onFault: (error) => {
        // A broker that is away.
        if (!(error instanceof Problem)) throw error
      },
    })
    closers.push(async () => {
      await agent.stop()
      await rm(folder, { recursive: true, force: true })
    })
    hosts.set(host, agent.app.fetch)
    await context.repository.putIdentity(who.operations)
    await agent.links.add('folder', { path: folder, name: 'folder' })
    let nonce = 0
    return {
      person: who,
      id: toHex(who.id),
      url,
      agent,
      context,
      folder,
      put: (file, bytes) => writeFile(join(folder, file), bytes),
      async ask(method, path, body) {
        const init = body === undefined ? {} : { body: JSON.stringify(body), headers: JSON_TYPE }
        const request = await signedBy(
          clock,
          who.owner,
          toHex(who.id),
          new Request(url + path, { method, ...init }),
          nonce++,
        )
        const response = await agent.app.fetch(request)
        return { status: response.status, json: (await response.json()) as never }
      },
      async fetch(infoHash) {
        const { id } = await agent.downloads.start({ source: infoHash })
        for (;;) {
          const found = await agent.downloads.get(id)
          if (found && ['done', 'failed', 'waiting'].includes(found.state)) return found
          await new Promise(setImmediate)
        }
      },
    }
  }

  return {
    clock,
    environment,
    open,
    setDown: (host, isDown) => void (isDown ? down.add(host) : down.delete(host)),
    requests,
    answer: (host, handler) => void hosts.set(host, handler),
    async close() {
      for (const close of closers) await close()
    },
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }

/** @param number makes the nonce; another each time */
export const signedBy = (
  clock: HandClock,
  signer: Signer,
  audience: string,
  request: Request,
  number: number,
): Promise<Request> =>
  signRequest(request, { signer, audience, nowMs: clock.now(), nonce: `nonce-of-a-request-${number}` })
