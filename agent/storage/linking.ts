/**
 * Linking a drive in the owner's browser. The agent makes the question and keeps what the answer needs, sealed, for a few
 * minutes; the provider sends the browser back to the agent, or to the owner's command on their own machine, with a code that
 * only this agent can turn into a token.
 */
import { sha256 } from '#primitives'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { NO_SECRETS, type LinkAccess, type LinkInfo, type Links } from './links.ts'
import { authorizationRequest, exchangeCode, type OAuthProvider } from './oauth.ts'
import { dropboxOAuth, driveOAuth } from './oauth-providers.ts'
import { PROVIDER_HOSTS, type ProviderHosts } from './providers.ts'

export type OAuthKind = 'drive' | 'dropbox'

export interface AuthorizationOptions {
  readonly kind: OAuthKind
  /** The owner's own OAuth client, or app key. */
  readonly clientId: string
  readonly clientSecret?: string | undefined
  readonly folder?: string | undefined
  readonly name?: string | undefined
  /** Where the browser is sent back to; a loopback address alone. Default: the agent. */
  readonly redirectUri?: string | undefined
}

export interface Authorization {
  /** For the owner's browser. */
  readonly url: string
  /** Comes back with the code. Good once. */
  readonly state: string
  readonly expires: number
}

export interface Linking {
  /** @throws Problem `bad-request` for a redirect that is neither the agent nor loopback */
  begin(options: AuthorizationOptions): Promise<Authorization>
  /** @throws Problem `not-found` for a state that is unknown, used up or too old; `storage-denied`, and as `Links.add` */
  finish(state: string, code: string): Promise<LinkInfo>
  /** Forgets questions that nobody answered in time. */
  sweep(): Promise<void>
}

/** In the agent, for the provider's way back. */
export const CALLBACK_PATH = '/v1/oauth/callback'

interface Pending {
  readonly options: Omit<AuthorizationOptions, 'clientSecret'>
  readonly redirectUri: string
  /** PKCE's verifier, and the client's secret. */
  readonly sealed: string
  readonly expires: number
}

interface Sealed {
  readonly verifier: string
  readonly clientSecret?: string
}

const PK = 'authorization'
const SWEPT_AT_ONCE = 50

const PROVIDERS: Readonly<Record<OAuthKind, (hosts: ProviderHosts) => OAuthProvider>> = {
  drive: driveOAuth,
  dropbox: dropboxOAuth,
}

export function createLinking(
  { store, environment, publicUrl }: Pick<AgentContext, 'store' | 'environment' | 'publicUrl'>,
  links: Links,
  { secrets = NO_SECRETS, hosts = PROVIDER_HOSTS }: LinkAccess = {},
): Linking {
  async function begin({ clientSecret, ...options }: AuthorizationOptions): Promise<Authorization> {
    const redirectUri = options.redirectUri ?? publicUrl + CALLBACK_PATH
    if (options.redirectUri !== undefined) checkLoopback(options.redirectUri)
    const provider = PROVIDERS[options.kind](hosts)
    const { url, state, verifier } = authorizationRequest(environment, provider, options.clientId, redirectUri)
    const sk = keyOf(state)
    const sealed = await secrets.seal(sealName(sk), JSON.stringify({ verifier, clientSecret }))
    const expires = environment.clock.now() + limits.authorizationMs
    const pending: Pending = { options, redirectUri, sealed, expires }
    await store.write([{ pk: PK, sk, expect: 0, body: encodeRecord(pending) }])
    return { url, state, expires }
  }

  /** Used up before the code is shown to anyone: what was seen once is worth nothing. */
  async function take(sk: string): Promise<Pending> {
    const item = await store.get(PK, sk)
    const taken = item && (await store.write([{ pk: PK, sk, expect: item.version }]))
    const pending = item && taken ? decodeRecord<Pending>(item) : undefined
    if (pending && pending.expires > environment.clock.now()) return pending
    throw new Problem('not-found', 'Nobody waits for this answer any more: begin the link anew.')
  }

  async function finish(state: string, code: string): Promise<LinkInfo> {
    const sk = keyOf(state)
    const { options, redirectUri, sealed } = await take(sk)
    const { verifier, clientSecret } = JSON.parse(await secrets.open(sealName(sk), sealed)) as Sealed
    const { kind, clientId, name, folder } = options
    const client = { id: clientId, secret: clientSecret }
    const refreshToken = await exchangeCode(environment, PROVIDERS[kind](hosts), client, {
      code,
      verifier,
      redirectUri,
    })
    const secret = { refreshToken, ...(clientSecret !== undefined && { clientSecret }) }
    const extras = { secret, ...(name !== undefined && { name }), ...(folder !== undefined && { folder }) }
    return kind === 'drive'
      ? links.add(kind, { clientId, ...extras })
      : links.add(kind, { appKey: clientId, ...extras })
  }

  return {
    begin,
    finish,
    async sweep() {
      const items = await store.list(PK, { limit: SWEPT_AT_ONCE })
      const dead = items.filter((item) => decodeRecord<Pending>(item).expires <= environment.clock.now())
      if (dead.length > 0) await store.write(dead.map(({ sk }) => ({ pk: PK, sk, expect: 'any' as const })))
    },
  }
}

/** Whoever reads the store learns no state. */
const keyOf = (state: string): string => toHex(sha256(utf8(state)))
const sealName = (sk: string): string => `${PK}/${sk}`

/** RFC 8252 §7.3: the owner's own machine, and no page of somebody's on it. */
function checkLoopback(redirectUri: string): void {
  if (/^http:\/\/(?:127\.0\.0\.1|localhost):\d{1,5}\/$/.test(redirectUri) && URL.canParse(redirectUri)) return
  throw new Problem('bad-request', 'The way back is the agent itself, or http://127.0.0.1:PORT/.')
}
