import { Problem } from '../../../protocol/problem.ts'
import { formatBytes, formatCount } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import type { OwnerClient } from '../owner-client.ts'
import { UNDER_WAY, type DownloadJson } from './downloads.ts'
import { table } from '../table.ts'

interface LinkJson {
  name: string
  kind: string
  quota?: { total?: number; used?: number }
}
export interface ShareJson {
  infoHash: string
  infoHashV1: string
  magnet: string
  name: string
  bytes: number
  pieces: number
  price: string
  public: boolean
  link: string
  path: string
  withdrawn?: string
}

export const linkCommands: Commands = {
  link: {
    usage: 'folder DIR | s3 --bucket B [--prefix P] [--region R] [--name NAME]',
    summary: 'Let your agent read and write a storage of yours',
    options: {
      name: { type: 'string' },
      bucket: { type: 'string' },
      prefix: { type: 'string' },
      region: { type: 'string' },
    },
    takes: [1, 2],
    async run(call) {
      const name = call.text('name')
      const request = { ...placeOf(call), ...(name === undefined ? {} : { name }) }
      const link = await (await call.agent()).ask<LinkJson>('POST', '/v1/links', request)
      return { json: link, text: `Linked ${link.kind} as '${link.name}'.` }
    },
  },
  links: {
    usage: '',
    summary: 'List linked storages; the first is where things go unless told otherwise',
    takes: [0, 0],
    async run(call) {
      const links = await (await call.agent()).ask<LinkJson[]>('GET', '/v1/links')
      const rows = links.map((link) => [link.name, link.kind, quotaText(link)])
      return { json: links, text: table(rows, ['name', 'kind', 'space']) }
    },
  },
  unlink: {
    usage: 'NAME',
    summary: 'Forget a linked storage; its files stay',
    takes: [1, 1],
    run: unlink,
  },
}

export const shareCommands: Commands = {
  share: {
    usage: 'PATH [--link NAME] [--price CREDITS] [--public]',
    summary: 'Offer a file or folder of a linked storage, at CREDITS a piece or free of charge',
    options: { link: { type: 'string' }, price: { type: 'string' }, public: { type: 'boolean' } },
    takes: [1, 1],
    run: share,
  },
  shares: {
    usage: '',
    summary: 'List what your agent offers',
    takes: [0, 0],
    async run(call) {
      const shares = await (await call.agent()).ask<ShareJson[]>('GET', '/v1/shares')
      return { json: shares, text: shares.map(shareText).join('\n') || '(none)' }
    },
  },
  unshare: {
    usage: 'INFOHASH',
    summary: 'Stop offering it; the files stay',
    takes: [1, 1],
    run: unshare,
  },
}

/** What says where the storage is, by its kind. */
const PLACES: Readonly<Record<string, (call: Call) => object>> = {
  folder: (call) => {
    const dir = call.args[1]
    if (dir === undefined) throw new UsageError('which folder? `raincheck link folder DIR`')
    return { path: call.resolvePath(dir) }
  },
  s3: (call) => {
    if (call.text('bucket') === undefined) throw new UsageError('which bucket? `raincheck link s3 --bucket B`')
    const prefix = call.text('prefix')?.replace(/^\/+|\/+$/g, '')
    return given({
      bucket: call.text('bucket'),
      prefix: prefix === '' ? undefined : prefix,
      region: call.text('region'),
    })
  },
}

function placeOf(call: Call): { kind: string } {
  const [kind = ''] = call.args
  const place = Object.hasOwn(PLACES, kind) ? PLACES[kind] : undefined
  if (!place) {
    throw new UsageError(`this agent links ${Object.keys(PLACES).join(', ')}; '${kind}' is not one of its kinds.`)
  }
  if (kind !== 'folder' && call.args.length > 1) throw new UsageError(`'${call.args[1] ?? ''}' is one word too many.`)
  return { kind, ...place(call) }
}

const given = (options: Readonly<Record<string, string | undefined>>): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

async function unlink(call: Call): Promise<Answer> {
  const name = call.args[0] as string
  const agent = await call.agent()
  const link = (await agent.ask<LinkJson[]>('GET', '/v1/links')).find((one) => one.name === name)
  const stranded = await strandedBy(agent, name)
  await agent.ask('DELETE', `/v1/links/${encodeURIComponent(name)}`)
  return {
    json: { name, kind: link?.kind, ...stranded.json },
    text: [`Unlinked '${name}'.`, ...stranded.text].join('\n'),
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
    ...downloads.map(({ id, name }) => `Its download '${name}' has nowhere to go: \`raincheck cancel ${id}\` ends it.`),
  ]
  return {
    json: {
      ...(shares.length > 0 && { shares: shares.map(({ infoHash }) => infoHash) }),
      ...(downloads.length > 0 && { downloads: downloads.map(({ id }) => id) }),
    },
    text,
  }
}

async function share(call: Call): Promise<Answer> {
  const [link, price] = [call.text('link'), call.credits('price')]
  const agent = await call.agent()
  const asked = agent.ask<ShareJson>('POST', '/v1/shares', {
    path: call.args[0],
    ...(link === undefined ? {} : { link }),
    ...(price === undefined ? {} : { price }),
    ...(call.flag('public') ? { public: true } : {}),
  })
  call.progress(`hashing ${call.args[0]} …`)
  const json = await asked.finally(() => call.progress('')).catch(whereToLook)
  return { json, text: `${shareText(json)}\n  ${json.magnet}` }
}

function whereToLook(error: unknown): never {
  if (!(error instanceof Problem) || error.code !== 'not-found') throw error
  throw new Problem('not-found', `${error.message} PATH is looked for in the linked storage (\`raincheck links\`).`)
}

async function unshare(call: Call): Promise<Answer> {
  const given = (call.args[0] as string).toLowerCase()
  const agent = await call.agent()
  const shares = await agent.ask<ShareJson[]>('GET', '/v1/shares')
  const found = shares.find(({ infoHash, infoHashV1 }) => infoHash === given || infoHashV1 === given)
  await agent.ask('DELETE', `/v1/shares/${encodeURIComponent(given)}`)
  return { json: found ?? { infoHash: given }, text: `No longer shared: ${found?.name ?? given}` }
}

function shareText(share: ShareJson): string {
  const terms = share.public ? 'free for all' : `${share.price} a piece`
  const state = share.withdrawn === undefined ? '' : `\n  withdrawn: ${share.withdrawn}`
  return `${share.name}  ${formatBytes(share.bytes)}  ${formatCount(share.pieces, 'piece')}  ${terms}${state}\n  ${share.infoHash}`
}

function quotaText({ quota }: LinkJson): string {
  if (quota?.total === undefined || quota.used === undefined) return ''
  return `${formatBytes(quota.used)} of ${formatBytes(quota.total)} used`
}
