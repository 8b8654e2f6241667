/** Where the providers answer. Each can be replaced for tests and gateways; no request goes anywhere else then. */

/** URLs without a trailing slash. S3 has none here: the AWS SDK reads its own variables. */
export type ProviderHosts = Readonly<
  Record<'googleApi' | 'googleOauth' | 'googleToken' | 'dropboxApi' | 'dropboxContent' | 'dropboxOauth', string>
>

export const PROVIDER_HOSTS: ProviderHosts = {
  googleApi: 'https://www.googleapis.com',
  googleOauth: 'https://accounts.google.com',
  googleToken: 'https://oauth2.googleapis.com',
  dropboxApi: 'https://api.dropboxapi.com',
  dropboxContent: 'https://content.dropboxapi.com',
  dropboxOauth: 'https://www.dropbox.com',
}

const VARIABLES: Readonly<Record<keyof ProviderHosts, string>> = {
  googleApi: 'RAINCHECK_GOOGLE_API_URL',
  googleOauth: 'RAINCHECK_GOOGLE_OAUTH_URL',
  googleToken: 'RAINCHECK_GOOGLE_TOKEN_URL',
  dropboxApi: 'RAINCHECK_DROPBOX_API_URL',
  dropboxContent: 'RAINCHECK_DROPBOX_CONTENT_URL',
  dropboxOauth: 'RAINCHECK_DROPBOX_OAUTH_URL',
}

/** @param variable the value of an environment variable, or the default */
export function providerHosts(variable: (name: string, otherwise: string) => string): ProviderHosts {
  const host = (key: keyof ProviderHosts): string => variable(VARIABLES[key], PROVIDER_HOSTS[key]).replace(/\/+$/, '')
  return {
    googleApi: host('googleApi'),
    googleOauth: host('googleOauth'),
    googleToken: host('googleToken'),
    dropboxApi: host('dropboxApi'),
    dropboxContent: host('dropboxContent'),
    dropboxOauth: host('dropboxOauth'),
  }
}
