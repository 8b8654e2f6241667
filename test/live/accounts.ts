/** Real accounts, as variables name them. What a run touches is a new folder in each, and is taken away again. */
import type { LinkSettings, StorageKind } from '../../agent/storage/open.ts'
import type { LinkSecret } from '../../agent/storage/secrets.ts'

export interface Account<K extends StorageKind = StorageKind> {
  readonly kind: K
  /** For people: what is touched. */
  readonly place: string
  readonly settings: LinkSettings[K]
  readonly secret: LinkSecret | undefined
}

type Variables = Readonly<Record<string, string | undefined>>

/** @param folder new, for this run */
export function accountsIn(variables: Variables, folder: string): readonly Account[] {
  const get = (name: string): string | undefined => variables[`RAINCHECK_LIVE_${name}`]
  const [clientId, appKey, bucket] = [get('DRIVE_CLIENT_ID'), get('DROPBOX_APP_KEY'), get('S3_BUCKET')]
  const accounts: Account[] = []
  if (bucket !== undefined) {
    const settings = { bucket, prefix: folder, region: get('S3_REGION') }
    accounts.push({ kind: 's3', place: `s3://${bucket}/${folder}/`, settings, secret: undefined })
  }
  if (clientId !== undefined) {
    const secret = secretOf({ refreshToken: get('DRIVE_REFRESH_TOKEN'), clientSecret: get('DRIVE_CLIENT_SECRET') })
    const place = `the folder ${folder} in My Drive of the token’s owner`
    accounts.push({ kind: 'drive', place, settings: { clientId, folder }, secret })
  }
  if (appKey !== undefined) {
    const secret = secretOf({ refreshToken: get('DROPBOX_REFRESH_TOKEN'), clientSecret: get('DROPBOX_APP_SECRET') })
    const place = `the folder ${folder} in the app folder of the token’s Dropbox`
    accounts.push({ kind: 'dropbox', place, settings: { appKey, folder }, secret })
  }
  return accounts
}

const secretOf = (members: Readonly<Record<string, string | undefined>>): LinkSecret =>
  Object.fromEntries(Object.entries(members).filter((member): member is [string, string] => member[1] !== undefined))
