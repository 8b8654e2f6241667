/** Takes back what a link was given to get in with (RFC 7009; Dropbox has a route of its own). */
import type { Environment } from '../../protocol/environment.ts'
import type { OAuthKind } from './linking.ts'
import { createAccess } from './oauth.ts'
import { dropboxOAuth } from './oauth-providers.ts'
import { within } from './provider-call.ts'
import type { ProviderHosts } from './providers.ts'
import type { LinkSecret } from './secrets.ts'

export interface Grant {
  readonly kind: OAuthKind
  readonly clientId: string
  readonly secret: LinkSecret
}

const TIMEOUT_MS = 15_000
const ATTEMPTS = 3
const PAUSE_MS = 500

/** @returns whether the provider says that nobody gets in with it any more */
export async function revokeGrant(environment: Environment, hosts: ProviderHosts, grant: Grant): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const request = await requestFor(environment, hosts, grant).catch(() => undefined)
    if (request && (await isDone(environment, request))) return true
    if (attempt === ATTEMPTS) return false
    await environment.clock.sleep(PAUSE_MS * 2 ** (attempt - 1))
  }
}

/** A token that is no token is revoked already (Google: 400). */
async function isDone({ clock, transport }: Environment, request: Request): Promise<boolean> {
  try {
    return await within(clock, 'The provider', TIMEOUT_MS, async (signal) => {
      const response = await transport(new Request(request, { signal }))
      await response.body?.cancel()
      return response.ok || response.status === 400
    })
  } catch {
    return false
  }
}

async function requestFor(
  environment: Environment,
  hosts: ProviderHosts,
  { kind, clientId, secret }: Grant,
): Promise<Request> {
  const { refreshToken = '' } = secret
  if (kind === 'drive') {
    return new Request(`${hosts.googleToken}/revoke`, {
      method: 'POST',
      body: new URLSearchParams({ token: refreshToken }),
    })
  }
  const access = createAccess({
    environment,
    provider: dropboxOAuth(hosts),
    clientId,
    secret: async () => secret,
    renewSecret: async () => true,
  })
  const headers = { authorization: `Bearer ${await access.token()}` }
  return new Request(`${hosts.dropboxApi}/2/auth/token/revoke`, { method: 'POST', headers })
}
