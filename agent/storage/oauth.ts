/**
 * OAuth 2 as Google and Dropbox speak it: the authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636), refreshing
 * (RFC 6749 §6) and revoking (RFC 7009). The owner brings their own client; none is shipped. What comes back from a token
 * endpoint is never part of an error.
 */
import { sha256 } from '#primitives'
import { toBase64url, utf8 } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { Problem } from '../../protocol/problem.ts'
import { fatal, passing } from './faults.ts'
import { within } from './provider-call.ts'
import type { LinkSecret } from './secrets.ts'

export interface OAuthProvider {
  /** For people, such as `Drive`. */
  readonly name: string
  readonly authorizeUrl: string
  readonly tokenUrl: string
  /** The narrowest that does. */
  readonly scope: string
  /** What else the authorization request takes to get a refresh token. */
  readonly extras: Readonly<Record<string, string>>
}

export interface OAuthClient {
  readonly id: string
  /** Public clients have none. */
  readonly secret?: string | undefined
}

export interface Access {
  /** An access token that was good when it was last heard of. @throws Problem `storage-denied` when there is none to be had */
  token(): Promise<string>
  /** Another one than `stale`. */
  renew(stale: string): Promise<string>
}

export interface AccessOptions {
  readonly environment: Environment
  readonly provider: OAuthProvider
  readonly clientId: string
  readonly secret: () => Promise<LinkSecret | undefined>
  readonly renewSecret: (secret: LinkSecret) => Promise<boolean>
}

interface Tokens {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly expiresMs: number
}

const VERIFIER_BYTES = 32
const TIMEOUT_MS = 15_000
/** A token is renewed when less than this is left of it. */
const MARGIN_MS = 60_000
const REPLY_BYTES = 64 * 1024
const KEEP_ATTEMPTS = 8

/** Access tokens live in memory alone; a refresh token that was replaced is kept before the new access token is used. */
export function createAccess({ environment, provider, clientId, secret, renewSecret }: AccessOptions): Access {
  let current: Tokens | undefined
  let renewing: Promise<Tokens> | undefined

  async function refresh(): Promise<Tokens> {
    const known = await secret()
    const refreshToken = known?.['refreshToken']
    if (!known || refreshToken === undefined)
      throw fatal('auth', `The link to ${provider.name} has no token: link it again.`)
    const client = { id: clientId, secret: known['clientSecret'] }
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken }
    try {
      const tokens = await askForTokens(environment, provider, client, form)
      if (tokens.refreshToken !== undefined && tokens.refreshToken !== refreshToken)
        await keep(known, tokens.refreshToken)
      return tokens
    } catch (error) {
      // Another instance may have been given a new one meanwhile.
      if ((await secret())?.['refreshToken'] !== refreshToken) return refresh()
      throw error
    }
  }

  /** The record may have changed otherwise meanwhile; whoever has put another token there has the newer one. */
  async function keep(known: LinkSecret, refreshToken: string): Promise<void> {
    for (let attempt = 0; attempt < KEEP_ATTEMPTS; attempt++) {
      if (await renewSecret({ ...known, refreshToken })) return
      if ((await secret())?.['refreshToken'] !== known['refreshToken']) return
    }
  }

  async function renewed(): Promise<string> {
    renewing ??= refresh().finally(() => (renewing = undefined))
    current = await renewing
    return current.accessToken
  }

  return {
    token: async () =>
      current && current.expiresMs - MARGIN_MS > environment.clock.now() ? current.accessToken : renewed(),
    renew: async (stale) => (current && current.accessToken !== stale ? current.accessToken : renewed()),
  }
}

export interface AuthorizationRequest {
  /** For the owner's browser. */
  readonly url: string
  /** Ties the answer to the question; a secret until it is used. */
  readonly state: string
  /** PKCE; never leaves the agent before the code is there. */
  readonly verifier: string
}

export function authorizationRequest(
  { random }: Pick<Environment, 'random'>,
  provider: OAuthProvider,
  clientId: string,
  redirectUri: string,
): AuthorizationRequest {
  const [verifier, state] = [random.bytes(VERIFIER_BYTES), random.bytes(VERIFIER_BYTES)].map(toBase64url) as [
    string,
    string,
  ]
  const url = new URL(provider.authorizeUrl)
  const query = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: provider.scope,
    state,
    code_challenge: toBase64url(sha256(utf8(verifier))),
    code_challenge_method: 'S256',
    ...provider.extras,
  }
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return { url: url.href, state, verifier }
}

export interface CodeExchange {
  readonly code: string
  readonly verifier: string
  readonly redirectUri: string
}

/** @returns the refresh token @throws Problem `storage-denied`, `storage-unavailable` */
export async function exchangeCode(
  environment: Environment,
  provider: OAuthProvider,
  client: OAuthClient,
  { code, verifier, redirectUri }: CodeExchange,
): Promise<string> {
  const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: redirectUri }
  const { refreshToken } = await askForTokens(environment, provider, client, form)
  if (refreshToken === undefined) throw fatal('auth', `${provider.name} gave no token that lasts: link it again.`)
  return refreshToken
}

async function askForTokens(
  environment: Environment,
  provider: OAuthProvider,
  client: OAuthClient,
  form: Readonly<Record<string, string>>,
): Promise<Tokens> {
  const body = new URLSearchParams({
    ...form,
    client_id: client.id,
    ...(client.secret !== undefined && { client_secret: client.secret }),
  })
  const { status, json } = await post(environment, provider, body)
  if (status < 200 || status > 299) throw refusal(provider.name, status, json['error'])
  const { access_token: accessToken, refresh_token: refreshToken, expires_in: seconds } = json
  if (typeof accessToken !== 'string') throw passing(`${provider.name} answered no token.`)
  return {
    accessToken,
    refreshToken: typeof refreshToken === 'string' ? refreshToken : undefined,
    expiresMs: environment.clock.now() + (typeof seconds === 'number' ? seconds * 1000 : 0),
  }
}

interface Answer {
  readonly status: number
  readonly json: Readonly<Record<string, unknown>>
}

function post({ clock, transport }: Environment, provider: OAuthProvider, body: URLSearchParams): Promise<Answer> {
  return within(clock, provider.name, TIMEOUT_MS, async (signal) => {
    const request = new Request(provider.tokenUrl, { method: 'POST', body, signal })
    try {
      const response = await transport(request)
      const text = (await response.text()).slice(0, REPLY_BYTES)
      return { status: response.status, json: recordIn(text) }
    } catch (error) {
      throw error instanceof Problem ? error : passing(`${provider.name} could not be reached.`)
    }
  })
}

function recordIn(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** RFC 6749 §5.2 */
const SAID: Readonly<Record<string, string>> = {
  invalid_grant: 'no longer lets the agent in',
  invalid_client: 'does not know this OAuth client or its secret',
  unauthorized_client: 'does not let this OAuth client do that',
  invalid_scope: 'does not grant what the agent needs',
}

function refusal(name: string, status: number, error: unknown): Problem {
  if (status >= 500 || status === 429 || status === 408) return passing(`${name} gives out no tokens for now.`)
  const said = typeof error === 'string' && Object.hasOwn(SAID, error) ? SAID[error] : `refused (status ${status})`
  return fatal('auth', `${name} ${said}: link it again.`)
}
