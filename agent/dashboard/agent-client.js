/** The agent that serves this page. */
import { freshNonce, signedRequest } from './signed-requests.js'

/** For how long the page waits to be told something; what is to be done takes as long as it takes. */
const PATIENCE_MS = 20_000

/** What an agent says of itself to anyone. @typedef {{ id: string, key: string, ledger: string, repository: string }} Profile */

/** @returns {Promise<Profile | undefined>} undefined while the agent has no owner */
export async function readProfile() {
  try {
    return await answerOf(new Request('/.well-known/raincheck'))
  } catch (error) {
    if (error instanceof Refused && error.code === 'unclaimed') return undefined
    throw error
  }
}

/**
 * @param {import('./signed-requests.js').Signer} signer
 * @param {Profile} profile
 */
export function createAgentClient(signer, profile) {
  return {
    /**
     * @template T
     * @param {string} method
     * @param {string} path such as `/v1/shares`
     * @param {object} [json]
     * @returns {Promise<T>}
     */
    async ask(method, path, json) {
      const ask = { method, ...(json === undefined ? {} : { body: JSON.stringify(json) }) }
      const envelope = { signer, audience: profile.id, nowMs: Date.now(), nonce: freshNonce() }
      return answerOf(await signedRequest(location.origin + path, ask, envelope))
    },
  }
}

/** @typedef {ReturnType<typeof createAgentClient>} AgentClient */

/** A problem of the agent's: its sentence, and its code. */
class Refused extends Error {
  /** @type {string | undefined} */
  code
  /**
   * @param {string} detail
   * @param {string | undefined} code
   */
  constructor(detail, code) {
    super(detail)
    this.code = code
  }
}

/**
 * @template T
 * @param {Request} request
 * @returns {Promise<T>}
 * @throws {Refused}
 */
export async function answerOf(request) {
  const response = await reach(request)
  /** @type {unknown} */
  const answer = await response.json().catch(() => undefined)
  if (response.ok && answer !== undefined) return /** @type {T} */ (answer)
  const { code, detail } = /** @type {{ code?: string, detail?: string }} */ (answer ?? {})
  const otherwise = `The agent answers with status ${response.status}, and not as an agent does.`
  throw new Refused(inWords(code, detail) ?? otherwise, code)
}

/**
 * What cannot be reached, each browser words in its own way.
 * @param {Request} request
 */
async function reach(request) {
  try {
    return await fetch(request, request.method === 'GET' ? { signal: AbortSignal.timeout(PATIENCE_MS) } : {})
  } catch {
    throw new Error(`The agent at ${location.host} does not answer: is it running?`)
  }
}

/**
 * What the agent refuses of a page, for its owner.
 * @param {string | undefined} code
 * @param {string | undefined} detail
 */
function inWords(code, detail) {
  if (code === 'unknown-key') return 'This key is not the one of the agent’s owner.'
  if (code === 'stale-request')
    return 'The clocks of this machine and of the agent’s are apart: set the one that is wrong.'
  if (code === 'bad-signature') return `Open this page at the agent’s own address. ${detail}`
  return detail
}
