/**
 * An owner made in the page, and the owner's word that the agent may act: signed objects, byte for byte as `protocol/` makes
 * them. Secrets are made here and leave the page as files of the owner's alone.
 */
import { concat, fromHex, toBase64url, toHex, utf8 } from './bytes.js'
import { openKey } from './signed-requests.js'

/**
 * @typedef {import('./signed-requests.js').Signer} Signer
 * @typedef {string | number | bigint | Uint8Array | readonly (string | Uint8Array)[]} Value
 * @typedef {{ body: string, key: string, signature: string }} Envelope base64url each
 */

/** As `raincheck claim` delegates, unless it is told otherwise. */
const CAPS = { day: 1_000_000n, total: 1_000_000_000n }
const DELEGATION_MS = 400 * 24 * 60 * 60 * 1000
const SECRET_BYTES = 32

/**
 * Canonical bencode (BEP 3) of a dictionary whose keys are ASCII.
 * @param {Readonly<Record<string, Value | readonly Uint8Array[]>>} dictionary
 */
export function bencode(dictionary) {
  const members = Object.keys(dictionary)
    .toSorted()
    .flatMap((key) => [bytesOf(key), bencoded(dictionary[key] ?? '')])
  return concat(utf8('d'), ...members, utf8('e'))
}

/**
 * @param {Value | readonly Uint8Array[]} value
 * @returns {Uint8Array}
 */
function bencoded(value) {
  if (typeof value === 'number' || typeof value === 'bigint') return utf8(`i${value}e`)
  if (Array.isArray(value)) return concat(utf8('l'), ...value.map(bytesOf), utf8('e'))
  return bytesOf(/** @type {string | Uint8Array} */ (value))
}

/** @param {string | Uint8Array} value */
function bytesOf(value) {
  const bytes = typeof value === 'string' ? utf8(value) : value
  return concat(utf8(`${bytes.length}:`), bytes)
}

/**
 * @param {string} kind
 * @param {Parameters<typeof bencode>[0]} value
 * @param {Signer} signer
 * @returns {Promise<{ envelope: Envelope, id: string }>} the id in hex
 */
async function seal(kind, value, signer) {
  const body = bencode(value)
  const message = concat(utf8(`raincheck/${kind}/v1\0`), body)
  const signature = await signer.sign(message)
  const id = new Uint8Array(await crypto.subtle.digest('SHA-256', message))
  const envelope = {
    body: toBase64url(body),
    key: toBase64url(fromHex(signer.keyId)),
    signature: toBase64url(signature),
  }
  return { envelope, id: toHex(id) }
}

/**
 * @typedef {object} NewOwner
 * @property {string} id hex
 * @property {Signer} signer of the everyday key
 * @property {readonly Envelope[]} operations
 * @property {Readonly<Record<string, string>>} files what an owner's home holds, by name
 */

/**
 * Of two fresh secrets: the recovery key, which stands above the everyday one.
 * @param {number} nowMs
 * @param {() => string} freshSecret 64 hex digits
 * @returns {Promise<NewOwner>}
 */
export async function makeOwner(nowMs, freshSecret = randomSecret) {
  const [recovery, key] = [freshSecret(), freshSecret()]
  const [above, signer] = [await openKey(recovery), await openKey(key)]
  const keys = [above, signer].map(({ keyId }) => fromHex(keyId))
  const { envelope, id } = await seal('identity', { created: nowMs, keys, seq: 0 }, above)
  const operations = [envelope]
  const identity = `${JSON.stringify({ operations }, null, 2)}\n`
  return { id, signer, operations, files: { key: `${key}\n`, recovery: `${recovery}\n`, 'identity.json': identity } }
}

const randomSecret = () => toHex(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)))

/**
 * @param {Pick<NewOwner, 'id' | 'signer'>} owner
 * @param {{ key: string, ledgerId: string }} agent hex
 * @param {number} nowMs
 */
export async function delegationTo({ id, signer }, { key, ledgerId }, nowMs) {
  const terms = {
    ...CAPS,
    agent: fromHex(key),
    expires: nowMs + DELEGATION_MS,
    issued: nowMs,
    ledger: fromHex(ledgerId),
    may: ['announce', 'spend'],
    owner: fromHex(id),
  }
  return (await seal('delegation', terms, signer)).envelope
}
