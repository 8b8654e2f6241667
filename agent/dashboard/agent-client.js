/** The agent that serves this page. */
import { freshNonce, signedRequest } from './signed-requests.js'

/** What an agent says of itself to anyone. @typedef {{ id: string, key: string, ledger: string, repository: string }} Profile */

/** @returns {Promise<Profile>} */
export async function readProfile() {
  return answerOf(await fetch('/.well-known/raincheck'))
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
      return answerOf(await fetch(await signedRequest(location.origin + path, ask, envelope)))
    },
  }
}

/** @typedef {ReturnType<typeof createAgentClient>} AgentClient */

/**
 * @template T
 * @param {Response} response
 * @returns {Promise<T>}
 * @throws {Error} the problem's sentence
 */
async function answerOf(response) {
  /** @type {unknown} */
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return /** @type {T} */ (answer)
  const { code, detail } = /** @type {{ code?: string, detail?: string }} */ (answer)
  if (code === 'unknown-key') throw new Error('This key is not the one of the agent’s owner.')
  throw new Error(detail ?? `The agent answers with status ${response.status}.`)
}
