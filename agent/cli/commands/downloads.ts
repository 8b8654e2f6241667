import { toBase64url } from '../../../protocol/bytes.ts'
import { Problem } from '../../../protocol/problem.ts'
import type { Answer, Call, Command } from '../command.ts'
import { formatBytes, formatSeconds, table } from '../format.ts'

export interface DownloadJson {
  id: string
  state: string
  reason?: string
  until?: number
  name: string
  bytes: number
  done: number
  paid: string
  file?: string
  bytesPerSecond?: number
  secondsLeft?: number
}
interface FoundJson {
  infoHash: string
  name: string
  bytes: number
  sellers: number
  price: string
}

const POLL_MS = 250
const ENDED = new Set(['done', 'failed', 'cancelled'])

export const downloadCommands: Readonly<Record<string, Command>> = {
  search: {
    usage: 'QUERY',
    summary: 'Find contents by words of their names',
    takes: [1, 16],
    async run(call) {
      const found = await (await call.repository()).search(call.args.join(' '))
      const json: FoundJson[] = found.map((one) => ({ ...one, price: one.price.toString() }))
      const rows = json.map((one) => [
        one.infoHash,
        one.name,
        formatBytes(one.bytes),
        `${one.sellers} sellers`,
        `${one.price} a piece`,
      ])
      return { json, text: table(rows) }
    },
  },
  get: {
    usage: 'INFOHASH|MAGNET|TORRENTFILE [--link NAME] [--max-price CREDITS] [--wait]',
    summary: 'Download into a linked storage; --max-price is the most a piece may cost',
    options: { link: { type: 'string' }, 'max-price': { type: 'string' }, wait: { type: 'boolean' } },
    takes: [1, 1],
    async run(call) {
      const [link, maxPrice] = [call.text('link'), call.text('max-price')]
      const agent = await call.agent()
      const download = await agent.ask<DownloadJson>('POST', '/v1/downloads', {
        source: await sourceOf(call, call.args[0] as string),
        ...(link === undefined ? {} : { link }),
        ...(maxPrice === undefined ? {} : { maxPrice }),
      })
      return call.flag('wait') ? waitFor(call, download) : { json: download, text: line(download) }
    },
  },
  downloads: {
    usage: '',
    summary: 'List downloads',
    takes: [0, 0],
    async run(call) {
      const downloads = await (await call.agent()).ask<DownloadJson[]>('GET', '/v1/downloads')
      return { json: downloads, text: downloads.map(line).join('\n') || '(none)' }
    },
  },
  pause: change('pause', 'Stop a download for now'),
  resume: change('resume', 'Go on with a paused download'),
  cancel: change('cancel', 'End a download and remove what it wrote'),
}

function change(action: string, summary: string): Command {
  return {
    usage: 'ID',
    summary,
    takes: [1, 1],
    async run(call) {
      const path = `/v1/downloads/${encodeURIComponent(call.args[0] as string)}/${action}`
      const download = await (await call.agent()).ask<DownloadJson>('POST', path)
      return { json: download, text: line(download) }
    },
  }
}

async function sourceOf(call: Call, given: string): Promise<string> {
  if (/^[0-9a-f]{40}$|^[0-9a-f]{64}$/i.test(given)) return given.toLowerCase()
  if (given.startsWith('magnet:')) return given
  const torrent = await call.readFile(given).catch(() => {
    throw new Problem('not-found', `'${given}' is neither an info hash, a magnet link nor a torrent file.`)
  })
  return toBase64url(torrent)
}

async function waitFor(call: Call, started: DownloadJson): Promise<Answer> {
  const agent = await call.agent()
  let download = started
  while (!ENDED.has(download.state)) {
    call.progress(line(download))
    await call.environment.clock.sleep(POLL_MS, call.signal)
    download = await agent.ask<DownloadJson>('GET', `/v1/downloads/${download.id}`)
  }
  call.progress('')
  return { json: download, text: line(download), ...(download.state === 'done' ? {} : { exitCode: 1 }) }
}

function line(download: DownloadJson): string {
  const share = download.bytes === 0 ? 100 : Math.floor((download.done / download.bytes) * 100)
  const running = download.state === 'running'
  return [
    download.id,
    download.name,
    `${share} %`,
    download.state + (download.reason ? ` (${download.reason})` : ''),
    running && download.bytesPerSecond ? `${formatBytes(download.bytesPerSecond)}/s` : '',
    running && download.secondsLeft !== undefined ? `${formatSeconds(download.secondsLeft)} left` : '',
    `paid ${download.paid}`,
    download.file ?? '',
  ]
    .filter((part) => part !== '')
    .join('  ')
}
