/** Where Google and Dropbox are asked for tokens, and for what: no more than the files of the agent itself. */
import type { OAuthProvider } from './oauth.ts'
import type { ProviderHosts } from './providers.ts'

export const driveOAuth = ({ googleOauth, googleToken }: ProviderHosts): OAuthProvider => ({
  name: 'Drive',
  authorizeUrl: `${googleOauth}/o/oauth2/v2/auth`,
  tokenUrl: `${googleToken}/token`,
  scope: 'https://www.googleapis.com/auth/drive.file',
  // Google gives a refresh token again only where it asks again.
  extras: { access_type: 'offline', prompt: 'consent' },
})

export const dropboxOAuth = ({ dropboxOauth: host, dropboxApi }: ProviderHosts): OAuthProvider => ({
  name: 'Dropbox',
  authorizeUrl: `${host}/oauth2/authorize`,
  tokenUrl: `${dropboxApi}/oauth2/token`,
  scope: 'account_info.read files.content.read files.content.write files.metadata.read',
  extras: { token_access_type: 'offline' },
})
