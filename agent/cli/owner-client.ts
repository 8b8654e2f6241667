/** The owner's side of their agent's HTTP: every request signed by the owner's key (RFC 9421). */
import { fromUtf8, toBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { isProblemCode, Problem } from '../../protocol/problem.ts'
import type { Signer } from '../../protocol/signed.ts'

const NONCE_BYTES = 16

export interface OwnerClient {
  /**
   * @param path from the root, such as `/v1/shares`
   * @throws Problem the agent's own, or `peer-failed` when it cannot be reached
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
  return {
    async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
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
      return (await read(await reach(environment, signed))) as T
    },
  }
}

async function reach(environment: Environment, request: Request): Promise<Response> {
  try {
    return await environment.transport(request)
  } catch {
    throw new Problem(
      'peer-failed',
      `No agent answers at ${new URL(request.url).origin}: is it running (\`npm start\`)?`,
    )
  }
}

async function read(response: Response): Promise<unknown> {
  const answer = parse(fromUtf8(new Uint8Array(await response.arrayBuffer())))
  if (response.ok) return answer
  const { code, detail, ...members } = answer as { code?: unknown; detail?: unknown }
  if (!isProblemCode(code)) throw new Problem('peer-failed', `The agent answered with status ${response.status}.`)
  throw new Problem(code, String(detail), members)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}
