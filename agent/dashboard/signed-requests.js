/**
 * What the owner asks of the agent, signed in the page: RFC 9421 with ed25519 and RFC 9530, as `protocol/http-signature.ts`
 * verifies it. The key is WebCrypto's and cannot be read again.
 */
import { fromBase64url, fromHex, toBase64, toHex, utf8 } from './bytes.js'

/** What stands before the 32 bytes of an ed25519 key in PKCS #8 (RFC 8410 §7). */
const PKCS8 = '302e020100300506032b657004220420'
const NONCE_BYTES = 16

/**
 * @typedef {object} Signer
 * @property {string} keyId the public key, hex
 * @property {(message: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>} sign
 */

/**
 * @param {string} text of a key file
 * @returns {Promise<Signer>}
 */
export async function openKey(text) {
  const secret = text.trim()
  if (text.startsWith('age-encryption.org/'))
    throw new Error('This key is under a passphrase; the page takes a plain one.')
  if (!/^[0-9a-f]{64}$/.test(secret))
    throw new Error('This is not a key file: it holds 64 hex digits and nothing else.')
  if (!crypto.subtle) throw new Error('The browser signs on pages from https or 127.0.0.1 alone.')
  const pkcs8 = fromHex(PKCS8 + secret)
  const open = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign'])
  const { x = '' } = await crypto.subtle.exportKey('jwk', open)
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
  pkcs8.fill(0)
  return {
    keyId: toHex(fromBase64url(x)),
    sign: async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, message)),
  }
}

/**
 * @typedef {object} Envelope
 * @property {Signer} signer
 * @property {string} audience the owner's id, hex
 * @property {number} nowMs
 * @property {string} nonce 16 to 64 characters of base64url, never used twice
 */

/**
 * A request with `Signature-Input` and `Signature`, and `Content-Digest` when it has a body.
 * @param {string} url
 * @param {{ method: string, body?: string }} ask
 * @param {Envelope} envelope
 */
export async function signedRequest(url, { method, body }, { signer, audience, nowMs, nonce }) {
  const { host, pathname, search } = new URL(url)
  /** @type {Record<string, string>} */
  const headers =
    body === undefined ? {} : { 'content-type': 'application/json', 'content-digest': await digestOf(body) }
  const components = [
    ['@method', method],
    ['@authority', host],
    ['@path', pathname],
    ['@query', search || '?'],
    ...(body === undefined ? [] : [['content-digest', headers['content-digest']]]),
  ]
  const names = components.map(([name]) => `"${name}"`).join(' ')
  const created = Math.floor(nowMs / 1000)
  const input = `(${names});created=${created};nonce="${nonce}";keyid="${signer.keyId}";alg="ed25519";tag="raincheck/${audience}"`
  const lines = [...components.map(([name, value]) => `"${name}": ${value}`), `"@signature-params": ${input}`]
  const signature = await signer.sign(utf8(lines.join('\n')))
  headers['signature-input'] = `raincheck=${input}`
  headers['signature'] = `raincheck=:${toBase64(signature)}:`
  return new Request(url, { method, headers, ...(body === undefined ? {} : { body }) })
}

/** @param {string} body */
async function digestOf(body) {
  const hash = await crypto.subtle.digest('SHA-256', utf8(body))
  return `sha-256=:${toBase64(new Uint8Array(hash))}:`
}

export const freshNonce = () => toHex(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)))
