/**
 * Whose an agent in the cloud is. It belongs to nobody until somebody shows the secret that its deployment told its owner
 * alone; from then on the owner's signature counts, and the secret opens nothing any more.
 */
import { equal, toBase64url, utf8, type Bytes } from '../protocol/bytes.ts'
import { parseDelegation } from '../protocol/delegation.ts'
import type { Environment } from '../protocol/environment.ts'
import { identityOf, parseOperation, replay, speaksFor } from '../protocol/identity.ts'
import { Problem } from '../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, signerFrom, type Envelope, type EnvelopeJson } from '../protocol/signed.ts'
import type { Store } from '../protocol/store.ts'
import { hmacSha256, sha256 } from '#primitives'
import { introduce, type Services } from './adopt.ts'
import { decodeRecord, encodeRecord } from './records.ts'

export interface Owned {
  readonly owner: Bytes
  readonly operations: readonly Envelope[]
  readonly delegation: Envelope
  /** Where the agent is reached, without a trailing slash. */
  readonly url: string
}

export interface ClaimRequest {
  /** Not needed by the owner, who renews the delegation. */
  readonly secret?: string | undefined
  readonly operations: readonly Envelope[]
  /** To this agent's key. */
  readonly delegation: Envelope
  readonly url: string
}

export interface Claims {
  /** Undefined while the agent belongs to nobody; the same object for as long as nothing is claimed anew. */
  current(): Promise<Owned | undefined>
  /**
   * Makes it the owner's, or renews the owner's delegation. May be repeated.
   * @throws Problem `forbidden` for a wrong secret, `conflict` when it is another's or forgets what is known of the
   *   owner's keys, `unknown-key`, `bad-signature`, `stale-request` for a delegation older than the one that counts
   */
  claim(request: ClaimRequest): Promise<Owned>
}

export interface ClaimParts extends Services {
  readonly environment: Environment
  readonly store: Store
  /** The agent's own 32-byte key. */
  readonly secret: Bytes
}

interface ClaimRecord {
  readonly operations: readonly EnvelopeJson[]
  readonly delegation: EnvelopeJson
  readonly url: string
}

interface Parsed extends Pick<Owned, 'owner' | 'operations'> {
  /** Of the delegation, in milliseconds. */
  readonly issued: number
}

const PK = 'claim'
const SK = 'owner'
const LABEL = 'raincheck/claim/v1'
const SECRET_BYTES = 15

/**
 * What the deployment tells the owner: 20 characters of base64url, the same each time it is asked for. None begins with `-`,
 * which a command would take for an option.
 */
export const claimSecret = (secret: Bytes): string =>
  toBase64url(hmacSha256(secret, utf8(LABEL)).slice(0, SECRET_BYTES)).replace(/^-/, '_')

export function createClaims({ environment, store, secret, ledger, repository }: ClaimParts): Claims {
  const agent = signerFrom(secret).key
  let last: { readonly version: number; readonly owned: Owned } | undefined

  /** By its hash, so that how long it takes tells nothing about how much of it is right. */
  function requireSecret(shown: string | undefined): void {
    const isRight = shown !== undefined && equal(sha256(utf8(shown)), sha256(utf8(claimSecret(secret))))
    if (!isRight) throw new Problem('forbidden', 'This is not the secret that the deployment gave out.')
  }

  /**
   * The owner's operations, what is known of them not forgotten again: anybody can show what was shown before.
   * @throws Problem `conflict` when it is another's, or does not follow; `unknown-key`, `bad-request`, those of `replay`
   */
  function parse({ operations, delegation: envelope }: ClaimRequest, known: Owned | undefined): Parsed {
    const [first] = operations
    if (!first) throw new Problem('bad-request', 'The claim holds no operation of the owner’s identity.')
    const owner = identityOf(parseOperation(first))
    const delegation = parseDelegation(envelope)
    const nowMs = environment.clock.now()
    if (known && !equal(known.owner, owner)) throw new Problem('conflict', 'This agent has an owner already.')
    const state = replay(operations, nowMs, known && replay(known.operations, nowMs))
    if (!equal(delegation.owner, owner) || !speaksFor(state, delegation.key)) {
      throw new Problem('unknown-key', 'The delegation is not signed by the owner.')
    }
    if (!equal(delegation.agent, agent)) throw new Problem('bad-request', 'The delegation is to another agent’s key.')
    return { owner, issued: delegation.issued, operations: state.operations.map((applied) => applied.envelope) }
  }

  async function claim(request: ClaimRequest): Promise<Owned> {
    const item = await store.get(PK, SK)
    const known = item && ownedOf(decodeRecord<ClaimRecord>(item))
    const { owner, issued, operations } = parse(request, known)
    if (!known) requireSecret(request.secret)
    else if (issued < parseDelegation(known.delegation).issued) {
      throw new Problem('stale-request', 'A later delegation is in force.')
    }
    const { delegation, url } = request
    const owned = { owner, operations, delegation, url }
    const body = encodeRecord({
      operations: operations.map(envelopeToJson),
      delegation: envelopeToJson(delegation),
      url,
    } satisfies ClaimRecord)
    // What is known already is shown by anybody: it moves nothing.
    if (item && equal(item.body, body)) return owned
    // Told first: a claimed agent is one that the ledger knows.
    await introduce(owned, { ledger, repository })
    if (await store.write([{ pk: PK, sk: SK, expect: item?.version ?? 0, body }])) return owned
    throw new Problem('conflict', 'Another claim came first.')
  }

  return {
    claim,
    async current() {
      const item = await store.get(PK, SK)
      if (item && item.version !== last?.version)
        last = { version: item.version, owned: ownedOf(decodeRecord<ClaimRecord>(item)) }
      return item && last?.owned
    },
  }
}

function ownedOf({ operations, delegation, url }: ClaimRecord): Owned {
  const parsed = operations.map((json) => envelopeFromJson(json))
  const owner = identityOf(parseOperation(parsed[0] as Envelope))
  return { owner, operations: parsed, delegation: envelopeFromJson(delegation), url }
}
