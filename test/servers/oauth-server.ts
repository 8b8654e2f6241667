/** OAuth 2 as both providers speak it: RFC 6749 with PKCE (RFC 7636) and RFC 7009, to one client and users who agree. */
import { createHash, randomBytes } from 'node:crypto'
import { jsonReply, Refused, type Reply, type ServerRequest } from './provider-server.ts'

export interface OAuthClient {
  readonly id: string
  /** A public client has none. */
  readonly secret?: string
  /** Which the client has registered; a loopback one with any port stands for all ports where `anyPort`. */
  readonly redirects: readonly string[]
}

export interface OAuthServer {
  /** Tokens that let in, for a test that greps for them. */
  readonly issued: readonly string[]
  /** The user grants without being asked, as after an earlier link. @param user default: whoever has the browser */
  grant(scope: string, user?: string): { readonly refreshToken: string }
  authorize(request: ServerRequest): Reply
  token(request: ServerRequest): Reply
  /** @returns whether it was a token that let in */
  revoke(token: string): boolean
  /** @returns the scope of the token in the Authorization header, undefined where it lets nobody in */
  scopeOf(request: ServerRequest): string | undefined
  userOf(request: ServerRequest): string | undefined
  /** The access token of the request lets nobody in any more. */
  expire(request: ServerRequest): void
  /** The next refresh answers with a new refresh token too, and the old one is void. */
  rotate(): void
  /** The user took the grant back at the provider. */
  withdraw(): void
}

export interface OAuthRules {
  readonly client: OAuthClient
  /** Parameters of the authorization request that must be there, as these. */
  readonly demands: Readonly<Record<string, string>>
  /** Scopes that the provider knows. */
  readonly scopes: readonly string[]
  readonly tokenBytes?: number
  /** What tokens begin with. */
  readonly prefix: string
  /** A token that is revoked takes with it all that the same user has granted to the client. */
  readonly revokesAll?: boolean
}

interface Granted {
  readonly scope: string
  readonly user: string
}

interface Code {
  readonly challenge: string
  readonly redirectUri: string
  readonly scope: string
}

const refuse = (status: number, error: string, text: string): never => {
  throw new Refused(jsonReply(status, { error, error_description: text }))
}

const USER = 'owner'

export function createOAuth({ client, demands, scopes, prefix, revokesAll = false }: OAuthRules): OAuthServer {
  const codes = new Map<string, Code>()
  const refreshes = new Map<string, Granted>()
  const accesses = new Map<string, Granted & { readonly refresh: string }>()
  const issued: string[] = []
  let rotating = false

  function mint(kind: string): string {
    const token = `${prefix}${kind}-${randomBytes(24).toString('base64url')}`
    issued.push(token)
    return token
  }

  function access(refresh: string, granted: Granted): object {
    const token = mint('access')
    accesses.set(token, { ...granted, refresh })
    return { access_token: token, expires_in: 3599, scope: granted.scope, token_type: 'Bearer' }
  }

  function mintRefresh(granted: Granted): string {
    const token = mint('refresh')
    refreshes.set(token, granted)
    return token
  }

  function end(refresh: string): void {
    for (const [one, { refresh: its }] of accesses) if (its === refresh) accesses.delete(one)
    refreshes.delete(refresh)
  }

  function checkClient(form: URLSearchParams): void {
    const known = form.get('client_id') === client.id
    const secretFits = client.secret === undefined || form.get('client_secret') === client.secret
    if (!known || !secretFits) refuse(401, 'invalid_client', 'The OAuth client was not found.')
  }

  function exchange(form: URLSearchParams): Reply {
    const code = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    const proof = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (!code || code.challenge !== proof || code.redirectUri !== form.get('redirect_uri')) {
      return refuse(400, 'invalid_grant', 'Malformed auth code.')
    }
    const granted = { scope: code.scope, user: USER }
    const refresh = mintRefresh(granted)
    return jsonReply(200, { ...access(refresh, granted), refresh_token: refresh })
  }

  function refresh(form: URLSearchParams): Reply {
    const old = form.get('refresh_token') ?? ''
    const granted = refreshes.get(old)
    if (granted === undefined) return refuse(400, 'invalid_grant', 'Token has been expired or revoked.')
    if (!rotating) return jsonReply(200, access(old, granted))
    rotating = false
    refreshes.delete(old)
    const fresh = mintRefresh(granted)
    return jsonReply(200, { ...access(fresh, granted), refresh_token: fresh })
  }

  const tokenOf = ({ headers }: ServerRequest): string =>
    /^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1] ?? ''

  return {
    issued,
    grant: (scope, user = USER) => ({ refreshToken: mintRefresh({ scope, user }) }),
    authorize({ method, url: { searchParams: query } }) {
      const wanted = { response_type: 'code', client_id: client.id, code_challenge_method: 'S256', ...demands }
      if (method !== 'GET') return refuse(405, 'invalid_request', 'GET alone.')
      for (const [name, value] of Object.entries(wanted)) {
        if (query.get(name) !== value) return refuse(400, 'invalid_request', `${name} must be ${value}.`)
      }
      const redirectUri = query.get('redirect_uri') ?? ''
      const scope = query.get('scope') ?? ''
      const challenge = query.get('code_challenge') ?? ''
      if (!client.redirects.some((known) => sameRedirect(known, redirectUri)))
        return refuse(400, 'redirect_uri_mismatch', 'The redirect URI is not registered.')
      if (!/^[A-Za-z0-9_-]{43}$/.test(challenge)) return refuse(400, 'invalid_request', 'No S256 challenge.')
      if (scope.split(' ').some((one) => !scopes.includes(one))) return refuse(400, 'invalid_scope', 'Unknown scope.')
      const code = mint('code')
      codes.set(code, { challenge, redirectUri, scope })
      const back = new URL(redirectUri)
      back.searchParams.set('state', query.get('state') ?? '')
      back.searchParams.set('code', code)
      return { status: 302, headers: { location: back.href } }
    },
    token({ method, headers, body }) {
      if (method !== 'POST' || !headers['content-type']?.startsWith('application/x-www-form-urlencoded'))
        return refuse(400, 'invalid_request', 'A form is posted here.')
      const form = new URLSearchParams(body.toString())
      checkClient(form)
      const grant = form.get('grant_type')
      if (grant === 'authorization_code') return exchange(form)
      if (grant === 'refresh_token') return refresh(form)
      return refuse(400, 'unsupported_grant_type', 'Invalid grant_type.')
    },
    revoke(token) {
      const refresh = accesses.get(token)?.refresh ?? token
      const granted = refreshes.get(refresh)
      if (!granted) return false
      if (revokesAll) for (const [one, { user }] of refreshes) if (user === granted.user) end(one)
      end(refresh)
      return true
    },
    scopeOf: (request) => accesses.get(tokenOf(request))?.scope,
    userOf: (request) => accesses.get(tokenOf(request))?.user,
    expire: (request) => void accesses.delete(tokenOf(request)),
    rotate: () => (rotating = true),
    withdraw() {
      refreshes.clear()
      accesses.clear()
    },
  }
}

/** RFC 8252 §7.3: of a loopback address any port will do. */
function sameRedirect(known: string, given: string): boolean {
  if (known === given) return true
  if (!URL.canParse(given)) return false
  const { protocol, hostname, pathname } = new URL(given)
  return `${protocol}//${hostname}:*${pathname}` === known
}
