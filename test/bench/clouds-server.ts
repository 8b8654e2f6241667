/** The providers' servers in a process of their own, a file of `BYTES` in each; says how to reach it. */
import { DRIVE_CLIENT } from '../servers/drive.ts'
import { DROPBOX_CLIENT } from '../servers/dropbox.ts'
import { holeContent } from '../servers/s3-content.ts'
import { startClouds } from '../crash/clouds.ts'

const clouds = await startClouds(Number(process.env['BYTES']), ({ length }) => holeContent(length))
const KINDS = ['s3', 'drive', 'dropbox'] as const
const links = Object.fromEntries(KINDS.map((kind) => [kind, clouds.of(kind).link?.('seller')]))
for (const kind of KINDS) await clouds.of(kind).put('seller', 'film.bin', clouds.content)
const tokenAt = async (path: string, form: Record<string, string>): Promise<string> => {
  const reply = await fetch(path, { method: 'POST', body: new URLSearchParams(form) })
  return ((await reply.json()) as { access_token: string }).access_token
}
const refreshOf = (kind: 'drive' | 'dropbox'): string =>
  (links[kind] as { readonly secret: { readonly refreshToken: string } }).secret.refreshToken
const grant = { grant_type: 'refresh_token' }
const tokens = {
  drive: await tokenAt(`${clouds.env['RAINCHECK_GOOGLE_TOKEN_URL']}/token`, {
    ...grant,
    refresh_token: refreshOf('drive'),
    client_id: DRIVE_CLIENT.id,
    client_secret: DRIVE_CLIENT.secret,
  }),
  dropbox: await tokenAt(`${clouds.env['RAINCHECK_DROPBOX_API_URL']}/oauth2/token`, {
    ...grant,
    refresh_token: refreshOf('dropbox'),
    client_id: DROPBOX_CLIENT.id,
  }),
}
process.on('SIGTERM', () => process.exit(0))
console.log(JSON.stringify({ env: clouds.env, links, tokens }))
