/** The owner's side of their agent's HTTP: every request signed by the owner's key (RFC 9421). */
import { fromUtf8, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { isProblemCode, Problem, PROBLEMS } from '../../protocol/problem.ts'
import type { Signer } from '../../protocol/signed.ts'

const NONCE_BYTES = 16
const [TOO_LARGE] = PROBLEMS['too-large']
const MEMBERS = new Set(['type', 'title', 'status'])

export interface OwnerClient {
  /**
   * @param path from the root, such as `/v1/shares`
   * @throws Problem the agent's own; `unknown-key` when it is another owner's; `peer-failed` when it cannot be reached
   */
  ask<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T>
}

export interface OwnerClientOptions {
  readonly environment: Environment
  /** Without a trailing slash. */
  readonly url: string
  readonly owner: Bytes
  readonly signer: Signer
}

export function createOwnerClient({ environment, url, owner, signer }: OwnerClientOptions): OwnerClient {
  async function send(method: string, path: string, body?: unknown): Promise<Response> {
    const request = new Request(url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    const signed = await signRequest(request, {
      signer,
      audience: toHex(owner),
      nowMs: environment.clock.now(),
      nonce: toBase64url(environment.random.bytes(NONCE_BYTES)),
    })
    return reach(environment, signed)
  }

  /** An agent that takes no signature of ours is most often somebody else's; what knows no such path may be none. */
  async function explain(problem: Problem): Promise<Problem> {
    if (!['bad-signature', 'unknown-key', 'not-found'].includes(problem.code)) return problem
    const profile = await reach(environment, new Request(`${url}/.well-known/raincheck`)).then(read)
    const { id } = profile as { id?: unknown }
    if (id === undefined)
      return new Problem('peer-failed', `What answers at ${url} is no agent: see RAINCHECK_HOME and RAINCHECK_AGENT.`)
    if (problem.code === 'not-found') return problem
    if (id === toHex(owner)) return problem.code === 'unknown-key' ? outdated(problem) : problem
    return new Problem('unknown-key', `The agent at ${url} is another owner's: see RAINCHECK_HOME and RAINCHECK_AGENT.`)
  }

  return {
    async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
      const response = await send(method, path, body)
      const answer = await read(response)
      if (response.ok) return answer as T
      throw await explain(problemIn(response.status, answer))
    },
  }
}

/** The agent reads whose keys it obeys when it starts. */
const outdated = ({ code, message }: Problem): Problem =>
  new Problem(code, `${message} If you changed keys, restart the agent; in the cloud, \`raincheck claim\` it again.`)

async function reach(environment: Environment, request: Request): Promise<Response> {
  try {
    return await environment.transport(request)
  } catch {
    const { origin } = new URL(request.url)
    throw new Problem('peer-failed', `No agent answers at ${origin}: is it running (\`npm start\`)?`)
  }
}

/** An empty object for what is not JSON. */
async function read(response: Response): Promise<unknown> {
  try {
    return JSON.parse(fromUtf8(new Uint8Array(await response.arrayBuffer())))
  } catch {
    return {}
  }
}

function problemIn(status: number, answer: unknown): Problem {
  const { code, detail, ...rest } = answer as { code?: unknown; detail?: unknown }
  // Lambda's own word, which has no reason.
  if (!isProblemCode(code) && status === TOO_LARGE)
    return new Problem(
      'too-large',
      'The agent takes no request of that size: one on AWS Lambda takes a torrent of 4.5 MB.',
    )
  if (!isProblemCode(code)) return new Problem('peer-failed', `The agent answered with status ${status}.`)
  return new Problem(
    code,
    String(detail),
    Object.fromEntries(Object.entries(rest).filter(([name]) => !MEMBERS.has(name))),
  )
}
