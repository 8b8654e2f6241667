import { UsageError, type Command } from '../command.ts'
import { formatBytes, table } from '../format.ts'

interface LinkJson {
  name: string
  kind: string
  quota?: { total?: number; used?: number }
}
interface ShareJson {
  infoHash: string
  magnet: string
  name: string
  bytes: number
  pieces: number
  price: string
  public: boolean
  withdrawn?: string
}

export const storageCommands: Readonly<Record<string, Command>> = {
  link: {
    usage: 'folder DIR [--name NAME]',
    summary: 'Let your agent read and write a storage of yours',
    options: { name: { type: 'string' } },
    takes: [2, 2],
    async run(call) {
      const [kind, place] = call.args as [string, string]
      if (kind !== 'folder')
        throw new UsageError(`raincheck link: this agent links folders; '${kind}' is not one of its kinds.`)
      const name = call.text('name')
      const link = await (
        await call.agent()
      ).ask<LinkJson>('POST', '/v1/links', {
        kind,
        path: call.resolvePath(place),
        ...(name === undefined ? {} : { name }),
      })
      return { json: link, text: `Linked ${link.kind} as '${link.name}'.` }
    },
  },
  links: {
    usage: '',
    summary: 'List linked storages',
    takes: [0, 0],
    async run(call) {
      const links = await (await call.agent()).ask<LinkJson[]>('GET', '/v1/links')
      return { json: links, text: table(links.map((link) => [link.name, link.kind, quotaText(link)])) }
    },
  },
  unlink: {
    usage: 'NAME',
    summary: 'Forget a linked storage; its files stay',
    takes: [1, 1],
    async run(call) {
      const name = call.args[0] as string
      await (await call.agent()).ask('DELETE', `/v1/links/${encodeURIComponent(name)}`)
      return { json: { name }, text: `Unlinked '${name}'.` }
    },
  },
  share: {
    usage: 'PATH [--link NAME] [--price CREDITS] [--public]',
    summary: 'Offer a file or folder of a linked storage',
    options: { link: { type: 'string' }, price: { type: 'string' }, public: { type: 'boolean' } },
    takes: [1, 1],
    async run(call) {
      const [link, price] = [call.text('link'), call.text('price')]
      const share = await (
        await call.agent()
      ).ask<ShareJson>('POST', '/v1/shares', {
        path: call.args[0],
        ...(link === undefined ? {} : { link }),
        ...(price === undefined ? {} : { price }),
        ...(call.flag('public') ? { public: true } : {}),
      })
      const terms = share.public ? 'free for all' : `${share.price} a piece`
      return {
        json: share,
        text: `${share.name}: ${formatBytes(share.bytes)}, ${share.pieces} pieces, ${terms}\n${share.magnet}`,
      }
    },
  },
  shares: {
    usage: '',
    summary: 'List what your agent offers',
    takes: [0, 0],
    async run(call) {
      const shares = await (await call.agent()).ask<ShareJson[]>('GET', '/v1/shares')
      const rows = shares.map((s) => [
        s.infoHash.slice(0, 16),
        s.name,
        formatBytes(s.bytes),
        s.public ? 'free' : s.price,
        s.withdrawn ?? '',
      ])
      return { json: shares, text: table(rows) }
    },
  },
  unshare: {
    usage: 'INFOHASH',
    summary: 'Stop offering it; the files stay',
    takes: [1, 1],
    async run(call) {
      const infoHash = call.args[0] as string
      await (await call.agent()).ask('DELETE', `/v1/shares/${encodeURIComponent(infoHash)}`)
      return { json: { infoHash }, text: `No longer shared: ${infoHash}` }
    },
  },
}

function quotaText({ quota }: LinkJson): string {
  if (quota?.total === undefined || quota.used === undefined) return ''
  return `${formatBytes(quota.used)} of ${formatBytes(quota.total)} used`
}
