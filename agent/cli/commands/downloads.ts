import { toBase64url } from '../../../protocol/bytes.ts'
import { Problem, unlessBug } from '../../../protocol/problem.ts'
import { formatBytes, formatCount, formatWhen, formatSeconds } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Command, type Commands } from '../command.ts'
import type { OwnerClient } from '../owner-client.ts'
import { EXIT, exitCodeOf } from '../exit-code.ts'
import { table } from '../table.ts'

export interface DownloadJson {
  id: string
  state: string
  /** Of `waiting` and `failed`: a problem's code, or `no-sellers`; `detail` is a sentence. */
  reason?: string
  detail?: string
  until?: number
  infoHash: string
  name: string
  bytes: number
  done: number
  paid: string
  link: string
  file?: string
  bytesPerSecond?: number
  secondsLeft?: number
}
interface FoundJson {
  infoHash: string
  name: string
  bytes: number
  pieces?: number | undefined
  sellers: number
  price: string
}

const POLL_MS = 250
export const UNDER_WAY: ReadonlySet<string> = new Set(['queued', 'running', 'waiting', 'paused'])
/** What a download waits for that time alone will not bring today: its owner has to do something. */
const OWNERS_TURN: ReadonlySet<number> = new Set([EXIT.funds, EXIT.trust])
/** Looks in a row that find it so, before `get --wait` believes it. */
const PATIENCE = 8
/** What comes sooner is not worth a word. */
const SOON_MS = 60_000

/** By the owner's own guard. */
export const isHeld = (reason = ''): boolean => reason === 'stopped' || reason === 'cap-reached'

/** What becomes of a download that waits, or may be done about it. */
const HINTS: Readonly<Record<string, string>> = {
  'funds-insufficient': ' It goes on by itself when there are more.',
  stopped: ' `raincheck start` lets it go on.',
  'cap-reached': ' `raincheck caps --spend CREDITS` allows more.',
  'no-sellers': ' It goes on by itself when that changes.',
  'price-exceeded': ' To allow more, `get` it again with a higher --max-price.',
}

export const downloadCommands: Commands = {
  search: {
    usage: 'QUERY',
    summary: 'Find contents by words of their names',
    takes: [1, 16],
    async run(call) {
      const found = await (await call.repository()).search(call.args.join(' '))
      const json: FoundJson[] = found.map((one) => ({ ...one, price: one.price.toString() }))
      return { json, text: json.map(foundText).join('\n') || '(none)' }
    },
  },
  get: {
    usage: 'INFOHASH|MAGNET|TORRENTFILE [--link NAME] [--max-price CREDITS] [--wait]',
    summary:
      'Download into a linked storage. --max-price: the most a piece may cost, any price without it. --wait: until it is there',
    options: { link: { type: 'string' }, 'max-price': { type: 'string' }, wait: { type: 'boolean' } },
    takes: [1, 1],
    run: get,
  },
  downloads: {
    usage: '',
    summary: 'List downloads, the newest first',
    takes: [0, 0],
    async run(call) {
      const downloads = await (await call.agent()).ask<DownloadJson[]>('GET', '/v1/downloads')
      return { json: downloads, text: listText(downloads, call.environment.clock.now()) }
    },
  },
  pause: change('pause', 'Stop a download for now'),
  resume: change('resume', 'Go on with a paused or failed download; try a waiting one again now'),
  cancel: change('cancel', 'End a download and remove what it wrote'),
}

function change(action: string, summary: string): Command {
  return {
    usage: 'ID',
    summary,
    takes: [1, 1],
    async run(call) {
      const id = call.args[0] as string
      if (!/^[\w-]{1,64}$/.test(id))
        throw new UsageError(`'${id}' is not the id of a download: see \`raincheck downloads\`.`)
      const path = `/v1/downloads/${id}/${action}`
      const download = await (await call.agent()).ask<DownloadJson>('POST', path)
      return { json: download, text: listText([download], call.environment.clock.now()) }
    },
  }
}

async function get(call: Call): Promise<Answer> {
  const [link, maxPrice] = [call.text('link'), call.credits('max-price')]
  const agent = await call.agent()
  const named = call.args[0] as string
  const asked = agent.ask<DownloadJson>('POST', '/v1/downloads', {
    source: await sourceOf(call, named),
    ...(link === undefined ? {} : { link }),
    ...(maxPrice === undefined ? {} : { maxPrice }),
  })
  const download = await asked.catch((error: unknown) => explain(error, named))
  await remarkOnCopies(call, agent, download)
  return call.flag('wait') ? waitFor(call, download) : { json: download, text: askedText(call, download) }
}

/** Whoever asks for what is paused may have forgotten that it is. */
function askedText(call: Call, download: DownloadJson): string {
  const text = listText([download], call.environment.clock.now())
  if (download.state !== 'paused') return text
  return `${text}\nIt is paused: \`raincheck resume ${download.id}\` goes on with it.`
}

/** Whoever has it already may not mean to pay again. */
async function remarkOnCopies(call: Call, agent: OwnerClient, { id, infoHash, link }: DownloadJson): Promise<void> {
  const all = await agent.ask<DownloadJson[]>('GET', '/v1/downloads').catch(unlessBug)
  const had = all?.find(
    (one) => one.state === 'done' && one.infoHash === infoHash && one.link === link && one.id !== id,
  )
  if (had) call.remark(`You have had it as '${had.file}': this is another copy. \`raincheck cancel ${id}\` ends it.`)
}

const isNamedBy = (given: string): 'hash' | 'magnet' | 'file' => {
  if (/^[0-9a-f]{40}$|^[0-9a-f]{64}$/i.test(given)) return 'hash'
  return given.startsWith('magnet:') ? 'magnet' : 'file'
}

function explain(error: unknown, named: string): never {
  if (!(error instanceof Problem) || error.code !== 'bad-torrent' || isNamedBy(named) !== 'file') throw error
  throw new Problem(error.code, `'${named}' is no torrent file to go by: ${error.message}`)
}

async function sourceOf(call: Call, given: string): Promise<string> {
  const kind = isNamedBy(given)
  if (kind !== 'file') return kind === 'hash' ? given.toLowerCase() : given
  const torrent = await call.readFile(given).catch(() => {
    throw new Problem(
      'not-found',
      `'${given}' is neither an info hash, a magnet link nor a torrent file: \`raincheck search\` finds info hashes.`,
    )
  })
  return toBase64url(torrent)
}

/** Until it is done, or nothing will happen without the owner. It goes on by itself either way. */
async function waitFor(call: Call, started: DownloadJson): Promise<Answer> {
  const agent = await call.agent()
  let download = started
  const { id, name } = started
  const parting = `${name} goes on without this command: \`raincheck downloads\` shows it, \`raincheck pause ${id}\` stops it.`
  call.signal.addEventListener('abort', () => call.remark(parting), { once: true })
  for (let stuck = 0; UNDER_WAY.has(download.state) && stuck < PATIENCE; stuck = isStuck(download) ? stuck + 1 : 0) {
    call.progress(progressText(download))
    await call.environment.clock.sleep(POLL_MS, call.signal)
    download = await agent.ask<DownloadJson>('GET', `/v1/downloads/${download.id}`)
  }
  call.progress('')
  const exitCode = download.state === 'done' ? EXIT.done : exitCodeOf(download.reason)
  return { json: download, text: askedText(call, download), exitCode }
}

/** Whether it is its owner's turn, as far as one look can tell. */
export const isStuck = ({ state, reason }: Pick<DownloadJson, 'state' | 'reason'>): boolean =>
  state === 'paused' || (state === 'waiting' && (isHeld(reason) || OWNERS_TURN.has(exitCodeOf(reason))))

/** A folder of small files costs more than its bytes suggest: none shares a piece with another. */
function foundText({ infoHash, name, bytes, pieces, sellers, price }: FoundJson): string {
  const whole = pieces === undefined ? '' : `: ${BigInt(price) * BigInt(pieces)} for ${formatCount(pieces, 'piece')}`
  return `${name}  ${formatBytes(bytes)}  ${formatCount(sellers, 'seller')}  from ${price} a piece${whole}\n  ${infoHash}`
}

function progressText(download: DownloadJson): string {
  // The line may be cut off at its end.
  return [doneText(download), `paid ${download.paid}`, paceText(download), stateText(download), download.name]
    .filter((part) => part !== '')
    .join('  ')
}

function listText(downloads: readonly DownloadJson[], nowMs: number): string {
  const rows = downloads.map((one) => [one.id, one.state, doneText(one), paceText(one), one.paid, one.file ?? one.name])
  const [header, ...lines] = table(rows, ['id', 'state', 'done', 'pace', 'paid', 'name']).split('\n')
  return [header, ...lines.flatMap((line, i) => [line, ...reasonLines(downloads[i], nowMs)])].join('\n')
}

function reasonLines(download: DownloadJson | undefined, nowMs: number): string[] {
  if (download?.reason === undefined) return []
  const { reason, detail, until } = download
  const again = until !== undefined && until - nowMs > SOON_MS ? ` Goes on at ${formatWhen(until, nowMs)}.` : ''
  return [`  ${reason}${detail ? `: ${detail}` : ''}${hintOn(download)}${again}`]
}

export const hintOn = ({ id, state, reason = '' }: Pick<DownloadJson, 'id' | 'state' | 'reason'>): string =>
  state === 'failed' ? ` \`raincheck resume ${id}\` tries again.` : (HINTS[reason] ?? '')

const stateText = ({ state, reason, detail }: DownloadJson): string =>
  state === 'running' ? '' : state + (reason === undefined ? '' : ` (${detail ?? reason})`)

function doneText({ bytes, done }: DownloadJson): string {
  const percent = bytes === 0 ? 100 : Math.floor((done / bytes) * 100)
  return done === bytes ? formatBytes(bytes) : `${percent} % of ${formatBytes(bytes)}`
}

function paceText({ state, bytesPerSecond, secondsLeft }: DownloadJson): string {
  if (state !== 'running' || !bytesPerSecond) return ''
  const left = secondsLeft === undefined ? '' : `, ${formatSeconds(secondsLeft)} left`
  return `${formatBytes(bytesPerSecond)}/s${left}`
}
