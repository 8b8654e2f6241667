import { Problem } from '../../../protocol/problem.ts'
import { formatBytes, formatCount } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import type { LinkJson } from './links.ts'

export interface ShareJson {
  infoHash: string
  infoHashV1: string
  magnet: string
  url?: string
  torrent?: string
  name: string
  bytes: number
  pieces: number
  price: string
  public: boolean
  link: string
  path: string
  withdrawn?: string
  refused?: string
  circle?: string
  series?: string
}

export const shareCommands: Commands = {
  share: {
    usage: 'PATH [--link NAME] [--price CREDITS [--below-cost]] [--public] [--circle NAME] [--series NAME] [--keep]',
    summary:
      'Offer a file or folder of a linked storage, at CREDITS a piece (without: as before, else the ledger’s unit price) or free of charge; to members of a circle alone ("" for everybody again). Followers of a series are told of its new editions; --keep: offer a copy, which stays when the file changes',
    options: {
      link: { type: 'string' },
      price: { type: 'string' },
      'below-cost': { type: 'boolean' },
      public: { type: 'boolean' },
      circle: { type: 'string' },
      series: { type: 'string' },
      keep: { type: 'boolean' },
    },
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

async function share(call: Call): Promise<Answer> {
  if (/^(\/|$)/.test(call.args[0] as string))
    throw new UsageError(
      'PATH names a file or folder in a linked storage (`raincheck links`), without a leading slash.',
    )
  const [link, price, series] = [call.text('link'), call.credits('price'), call.text('series')]
  const circle = call.text('circle')
  const agent = await call.agent()
  const asked = agent.ask<ShareJson>('POST', '/v1/shares', {
    path: call.args[0],
    ...(link === undefined ? {} : { link }),
    ...(price === undefined ? {} : { price }),
    ...(call.flag('below-cost') ? { belowCost: true } : {}),
    ...(call.flag('public') ? { public: true } : {}),
    ...(circle === undefined ? {} : { circle }),
    ...(series === undefined ? {} : { series }),
    ...(call.flag('keep') ? { keep: true } : {}),
  })
  call.progress(`hashing ${call.args[0]} …`)
  const json = await asked.finally(() => call.progress('')).catch((error: unknown) => whereToLook(call, error))
  const places = [json.magnet, json.url, json.torrent].filter((place) => place !== undefined)
  return { json, text: [shareText(json), ...places].join('\n  ') }
}

async function whereToLook(call: Call, error: unknown): Promise<never> {
  if (!(error instanceof Problem) || (error.code !== 'not-found' && error.code !== 'path-outside')) throw error
  const links = await (await call.agent()).ask<LinkJson[]>('GET', '/v1/links')
  const name = call.text('link') ?? links[0]?.name
  const link = links.find((one) => one.name === name)
  const hint = link
    ? `PATH is looked for in the linked storage '${link.name}'${link.place === undefined ? '' : `, ${link.place}`}.`
    : 'PATH is looked for in a linked storage: see `raincheck links`.'
  throw new Problem(error.code, `${error.message} ${hint}`)
}

async function unshare(call: Call): Promise<Answer> {
  const given = (call.args[0] as string).toLowerCase()
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(given))
    throw new UsageError(`'${given}' is not an info hash: \`raincheck shares\` lists them.`)
  const agent = await call.agent()
  const shares = await agent.ask<ShareJson[]>('GET', '/v1/shares')
  const found = shares.find(({ infoHash, infoHashV1 }) => infoHash === given || infoHashV1 === given)
  await agent.ask('DELETE', `/v1/shares/${given}`)
  return { json: found ?? { infoHash: given }, text: `No longer shared: ${found?.name ?? given}` }
}

function shareText(share: ShareJson): string {
  const terms = share.public ? 'free for all' : `${share.price} a piece`
  const state = share.withdrawn === undefined ? '' : `\n  withdrawn: ${share.withdrawn}`
  const refused = share.refused === undefined ? '' : `\n  not in the repository: ${share.refused}`
  const circle = share.circle === undefined ? '' : `  in circle ${share.circle}`
  const series = share.series === undefined ? '' : `  edition of ${JSON.stringify(share.series)}`
  return `${share.name}  ${formatBytes(share.bytes)}  ${formatCount(share.pieces, 'piece')}  ${terms}${circle}${series}${state}${refused}\n  ${share.infoHash}`
}
