import { formatBytes } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import type { OwnerClient } from '../owner-client.ts'
import { table } from '../table.ts'
import { BUCKET } from '../../storage/names.ts'
import { UNDER_WAY, type DownloadJson } from './downloads.ts'
import type { ShareJson } from './storage.ts'

export interface LinkJson {
  name: string
  kind: string
  place?: string
  quota?: { total?: number; used?: number }
  /** Why it cannot be used now. */
  detail?: string
}

/** What a kind of link is made from, and what gives it a token. */
interface Kind {
  readonly usage: string
  readonly takes: number
  run(call: Call): Promise<LinkJson>
}

const PORT = '53682'

const KINDS: Readonly<Record<string, Kind>> = {
  folder: {
    usage: 'folder DIR',
    takes: 2,
    run: async (call) => add(call, { kind: 'folder', path: call.resolvePath(call.args[1] as string) }),
  },
  s3: {
    usage: 's3 --bucket B [--prefix P] [--region R] [--lends] [--access-key-id ID --secret-access-key KEY]',
    takes: 1,
    run: async (call) =>
      add(call, {
        kind: 's3',
        bucket: bucketOf(call),
        ...given({ prefix: trimmed(call.text('prefix')), region: call.text('region') }),
        ...(call.flag('lends') ? { lends: true } : {}),
        ...secretOf({ accessKeyId: call.text('access-key-id'), secretAccessKey: call.text('secret-access-key') }),
      }),
  },
  drive: {
    usage: 'drive --client-id ID --client-secret SECRET [--refresh-token TOKEN | --port PORT] [--folder NAME]',
    takes: 1,
    run: (call) => oauth(call, 'drive', required(call, 'client-id'), required(call, 'client-secret')),
  },
  dropbox: {
    usage: 'dropbox --app-key KEY [--app-secret SECRET] [--refresh-token TOKEN | --port PORT] [--folder PATH]',
    takes: 1,
    run: (call) => oauth(call, 'dropbox', required(call, 'app-key'), call.text('app-secret')),
  },
}

/** No client is shipped: its quotas are its owner's. */
const OF_THE_OWNER: ReadonlySet<string> = new Set(['client-id', 'client-secret', 'app-key'])

const TEXTS = [
  'name',
  'bucket',
  'prefix',
  'region',
  'access-key-id',
  'secret-access-key',
  'client-id',
  'client-secret',
  'app-key',
  'app-secret',
  'refresh-token',
  'folder',
  'port',
] as const

export const linkCommands: Commands = {
  link: {
    usage: `${Object.values(KINDS)
      .map(({ usage }) => usage)
      .join(' | ')} [--name NAME]`,
    summary: 'Let your agent read and write a storage of yours; without a token, your browser asks for one',
    options: {
      ...Object.fromEntries(TEXTS.map((name) => [name, { type: 'string' as const }])),
      lends: { type: 'boolean' },
    },
    takes: [0, 2],
    async run(call) {
      const [name = ''] = call.args
      const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined
      if (!kind) {
        const what = name === '' ? 'what is to be linked?' : `'${name}' is no kind of storage;`
        throw new UsageError(`${what} There are ${Object.keys(KINDS).join(', ')}: \`raincheck help link\`.`)
      }
      if (call.args.length !== kind.takes) throw new UsageError(`usage: raincheck link ${kind.usage}`)
      const link = await kind.run(call)
      return { json: link, text: `Linked ${link.kind} as '${link.name}'.` }
    },
  },
  links: {
    usage: '',
    summary: 'List linked storages; the first is where things go unless told otherwise',
    takes: [0, 0],
    async run(call) {
      const links = await (await call.agent()).ask<LinkJson[]>('GET', '/v1/links')
      const rows = links.map((link) => [link.name, link.kind, link.place ?? '', link.detail ?? quotaText(link)])
      return { json: links, text: table(rows, ['name', 'kind', 'place', 'space']) }
    },
  },
  unlink: {
    usage: 'NAME',
    summary: 'Forget a linked storage and take its token back; its files stay',
    takes: [1, 1],
    run: unlink,
  },
}

async function add(call: Call, members: object): Promise<LinkJson> {
  const name = call.text('name')
  return (await call.agent()).ask<LinkJson>('POST', '/v1/links', { ...members, ...given({ name }) })
}

async function oauth(
  call: Call,
  kind: 'drive' | 'dropbox',
  clientId: string,
  clientSecret: string | undefined,
): Promise<LinkJson> {
  const folder = call.text('folder')
  const refreshToken = call.text('refresh-token')
  if (refreshToken === undefined) return inBrowser(call, { kind, clientId, ...given({ clientSecret, folder }) })
  const client = kind === 'drive' ? { clientId } : { appKey: clientId }
  return add(call, { kind, ...client, ...given({ folder }), ...secretOf({ refreshToken, clientSecret }) })
}

async function inBrowser(call: Call, question: object): Promise<LinkJson> {
  const port = Number(call.text('port') ?? PORT)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new UsageError('--port takes a number from 0 to 65535.')
  const agent = await call.agent()
  const { openLoopback } = await import('../loopback.ts')
  const loopback = await openLoopback(port)
  try {
    const { redirectUri } = loopback
    const asked = { ...question, redirectUri, ...given({ name: call.text('name') }) }
    const { url, state } = await agent.ask<{ url: string; state: string }>('POST', '/v1/authorizations', asked)
    call.say(`Open this page in your browser, and allow it:\n${url}`)
    const code = await loopback.code(state, call.signal)
    return await agent.ask<LinkJson>('PUT', '/v1/authorizations', { state, code })
  } finally {
    loopback.close()
  }
}

/** Without slashes at its ends. */
const trimmed = (path: string | undefined): string | undefined => path?.replaceAll(/^\/+|\/+$/g, '') || undefined

function required(call: Call, name: string): string {
  const text = call.text(name)
  if (text !== undefined && text !== '') return text
  const whose = OF_THE_OWNER.has(name) ? ' of a client of your own (docs/SERVICES.md#linked-drives)' : ''
  throw new UsageError(`--${name}${whose} is needed: \`raincheck link --help\`.`)
}

function bucketOf(call: Call): string {
  const bucket = required(call, 'bucket')
  if (BUCKET.test(bucket)) return bucket
  throw new UsageError(`'${bucket}' names no bucket: 3 to 63 lower-case letters, digits, "." and "-".`)
}

const given = (members: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(members).filter((member): member is [string, string] => member[1] !== undefined))

function secretOf(members: Readonly<Record<string, string | undefined>>): {
  secret?: Readonly<Record<string, string>>
} {
  const secret = given(members)
  return Object.keys(secret).length > 0 ? { secret } : {}
}

async function unlink(call: Call): Promise<Answer> {
  const name = call.args[0] as string
  const agent = await call.agent()
  const link = (await agent.ask<LinkJson[]>('GET', '/v1/links')).find((one) => one.name === name)
  const stranded = await strandedBy(agent, name)
  const { revoked } = await agent.ask<{ revoked?: boolean }>('DELETE', `/v1/links/${encodeURIComponent(name)}`)
  const left = revoked === false ? ['Its token could not be taken back: do so in the provider’s settings.'] : []
  return {
    json: { name, kind: link?.kind, ...(revoked === undefined ? {} : { revoked }), ...stranded.json },
    text: [`Unlinked '${name}'.`, ...left, ...stranded.text].join('\n'),
  }
}

/** What lies in a link, or is on its way there. */
async function strandedBy(agent: OwnerClient, link: string): Promise<{ json: object; text: readonly string[] }> {
  const shares = (await agent.ask<ShareJson[]>('GET', '/v1/shares')).filter((one) => one.link === link)
  const downloads = (await agent.ask<DownloadJson[]>('GET', '/v1/downloads')).filter(
    (one) => one.link === link && UNDER_WAY.has(one.state),
  )
  const text = [
    ...shares.map(
      ({ infoHash, name }) => `Its share '${name}' is served no more: \`raincheck unshare ${infoHash}\` ends it.`,
    ),
    ...downloads.map(
      ({ id, name }) =>
        `Its download '${name}' is paused: \`raincheck cancel ${id}\` ends it, or link it again as '${link}' and \`resume\`.`,
    ),
  ]
  return {
    json: {
      ...(shares.length > 0 && { shares: shares.map(({ infoHash }) => infoHash) }),
      ...(downloads.length > 0 && { downloads: downloads.map(({ id }) => id) }),
    },
    text,
  }
}

function quotaText({ quota }: LinkJson): string {
  if (quota?.total === undefined || quota.used === undefined) return ''
  return `${formatBytes(quota.used)} of ${formatBytes(quota.total)} used`
}
