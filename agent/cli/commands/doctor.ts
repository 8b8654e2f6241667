/** `raincheck doctor`: what may be wrong between an owner and their downloads, and what to do about it. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { toHex } from '../../../protocol/bytes.ts'
import { openNote, parseCheckpoint, parseVerifierKey } from '../../../protocol/checkpoint.ts'
import { parseDelegation } from '../../../protocol/delegation.ts'
import { limits } from '../../../protocol/limits.ts'
import { unlessBug } from '../../../protocol/problem.ts'
import { envelopeFromJson } from '../../../protocol/signed.ts'
import { createHttpClient } from '../../clients/http-client.ts'
import { formatBytes, formatCount } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { faultOf } from '../fault.ts'
import type { GuardJson } from './guard.ts'
import { isHeld, type DownloadJson } from './downloads.ts'
import type { ShareJson } from './storage.ts'
import { table } from '../table.ts'

interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  /** Something else has to be mended first. */
  readonly isSkipped?: true
  /** What to do, where something is wrong. */
  readonly fix?: string
}

interface LinkJson {
  name: string
  kind: string
  reason?: string
  detail?: string
  quota?: { total?: number; used?: number }
}

interface Look {
  readonly name: string
  /** Checks without which this one says nothing. */
  readonly after?: readonly string[]
  /** @returns what is fine. @throws Wrong, or a problem */
  readonly look: (call: Call) => Promise<string>
  /** For a problem that does not say itself what to do. */
  readonly fix: string
}

/** Found, and what to do about it. */
class Wrong extends Error {
  readonly fix: string
  constructor(detail: string, fix: string) {
    super(detail)
    this.fix = fix
  }
}

const DAY_MS = 24 * 60 * 60 * 1000
/** A delegation that is nearer to its end is worth a word. */
const SOON_MS = 7 * DAY_MS
const ROOM_BYTES = 1024 ** 3
const START = 'start it: `npm start`, or `npm run agent`; where it runs elsewhere, name it in settings.json'

export const doctorCommands: Commands = {
  doctor: { usage: '', summary: 'Look for what is wrong, and say what to do', takes: [0, 0], run: doctor },
}

const LOOKS: readonly Look[] = [
  {
    name: 'key',
    look: lookAtKey,
    fix: 'name its home in RAINCHECK_HOME, run `raincheck init`, or bring your key back',
  },
  { name: 'agent', look: lookAtAgent, fix: START },
  { name: 'settings', after: ['agent'], look: lookAtSettings, fix: 'see settings.json in your home' },
  {
    name: 'owner',
    after: ['key', 'agent'],
    look: lookAtOwner,
    fix: 'if you changed keys, restart the agent; else see RAINCHECK_HOME and RAINCHECK_AGENT',
  },
  { name: 'clock', after: ['agent'], look: lookAtClock, fix: 'set the clock of this machine, or of the agent’s' },
  {
    name: 'delegation',
    after: ['agent'],
    look: lookAtDelegation,
    fix: 'start the agent anew: it asks you for another',
  },
  { name: 'guard', after: ['owner'], look: lookAtGuard, fix: 'see `raincheck caps`' },
  { name: 'storage', after: ['owner'], look: lookAtStorage, fix: 'link another: `raincheck link folder DIR`' },
  { name: 'ledger', look: lookAtLedger, fix: 'start it, or name another in the settings' },
  { name: 'log', after: ['owner', 'ledger'], look: lookAtLog, fix: 'see `raincheck proofs`' },
  { name: 'reach', after: ['owner'], look: lookAtReach, fix: 'see LEDGER_URL and REPOSITORY_URL where the agent runs' },
  {
    name: 'funds',
    after: ['owner', 'ledger', 'reach'],
    look: lookAtFunds,
    fix: 'sell something: `raincheck share PATH`',
  },
  { name: 'repository', look: lookAtRepository, fix: 'start it, or name another in the settings' },
  { name: 'chains', after: ['owner', 'repository'], look: lookAtChains, fix: 'see `raincheck proofs`' },
  { name: 'shares', after: ['owner'], look: lookAtShares, fix: 'see `raincheck shares`' },
  { name: 'downloads', after: ['owner'], look: lookAtDownloads, fix: 'see `raincheck downloads`' },
]

async function doctor(call: Call): Promise<Answer> {
  const checks: Check[] = []
  for (const look of LOOKS) checks.push(await check(call, look, checks))
  const ok = checks.every((one) => one.ok)
  const rows = checks.map((one) => [markOf(one), one.name, one.detail])
  const fixes = checks.flatMap(({ name, fix }) => (fix === undefined ? [] : [`${name}: ${fix}`]))
  const text = [table(rows), ...(fixes.length > 0 ? ['', 'What to do:', ...fixes.map((fix) => `  ${fix}`)] : [])]
  return { json: { ok, checks }, text: text.join('\n'), exitCode: ok ? 0 : 1 }
}

const markOf = ({ ok, isSkipped }: Check): string => (ok ? 'ok' : isSkipped ? '-' : 'WRONG')

async function check(call: Call, { name, after = [], look, fix }: Look, before: readonly Check[]): Promise<Check> {
  const missing = before.find((one) => !one.ok && after.includes(one.name))
  if (missing) return { name, ok: false, isSkipped: true, detail: `not looked at: first the ${missing.name}` }
  try {
    return { name, ok: true, detail: await look(call) }
  } catch (error) {
    if (error instanceof Wrong) return { name, ok: false, detail: error.message, fix: error.fix }
    return { name, ok: false, detail: error instanceof UsageError ? error.message : faultOf(error).message, fix }
  }
}

async function lookAtKey(call: Call): Promise<string> {
  const { id } = await call.owner()
  await call.signer()
  const found = await stat(join(call.homeDir, 'key')).catch(() => undefined)
  if (found && (found.mode & 0o077) !== 0)
    throw new Wrong('others on this machine may read it', `chmod 600 ${join(call.homeDir, 'key')}`)
  return `${toHex(id)} in ${call.homeDir}${found ? '' : ', encrypted'}`
}

interface ProfileJson {
  id?: string
  code?: string
  ledger?: string
  repository?: string
  delegation?: unknown
}

/** Anyone may ask for it. */
async function profileOf(call: Call): Promise<{ readonly response: Response; readonly profile: ProfileJson }> {
  const url = await call.agentUrl()
  const response = await call.environment.transport(new Request(`${url}/.well-known/raincheck`)).catch(() => {
    throw new Wrong(`nothing answers at ${url}`, START)
  })
  const profile = (await response.json().catch(() => ({}))) as ProfileJson
  if (profile.code === 'unclaimed')
    throw new Wrong(
      `the agent at ${url} has no owner yet`,
      `\`raincheck claim ${url} --secret SECRET\`; its stack’s outputs name the secret`,
    )
  if (!response.ok || profile.id === undefined) throw new Wrong(`what answers at ${url} is no agent`, START)
  return { response, profile }
}

async function lookAtAgent(call: Call): Promise<string> {
  await profileOf(call)
  return `answers at ${await call.agentUrl()}`
}

/** Where the command looks for services, and where the agent settles and meets. */
async function lookAtSettings(call: Call): Promise<string> {
  const { profile } = await profileOf(call)
  const settings = await call.settings()
  for (const service of ['ledger', 'repository'] as const) {
    const [yours, its] = [settings[service], profile[service]]
    if (yours !== undefined && its !== undefined && plain(yours) !== plain(its))
      throw new Wrong(
        `the agent’s ${service} is ${its}, yours ${yours}`,
        `write it into ${join(call.homeDir, 'settings.json')}`,
      )
  }
  return 'name the agent’s services'
}

const plain = (url: string): string => url.replace(/\/+$/, '')

async function lookAtOwner(call: Call): Promise<string> {
  await (await call.agent()).ask('GET', '/v1/links')
  return 'the agent obeys this key'
}

/** The agent's clock against that of this machine, which is often the same, and against those that judge what it signs. */
async function lookAtClock(call: Call): Promise<string> {
  const { response, profile } = await profileOf(call)
  const its = timeIn(response)
  if (Number.isNaN(its)) return 'the agent does not tell its time'
  requireTogether('this machine’s', call.environment.clock.now(), its)
  for (const service of ['ledger', 'repository'] as const)
    requireTogether(`the ${service}’s`, await timeAt(call, profile[service] ?? ''), its)
  return 'the agent’s agrees with this machine’s and the services’'
}

/** NaN where the service does not answer, or not say. */
async function timeAt({ environment }: Call, url: string): Promise<number> {
  let time = NaN
  const transport = async (request: Request): Promise<Response> => {
    const answer = await environment.transport(request)
    time = timeIn(answer)
    return answer
  }
  const http = createHttpClient({ ...environment, transport }, url)
  await http.bytes({ method: 'GET', path: '/healthz', attempts: 1 }).catch(unlessBug)
  return time
}

const timeIn = ({ headers }: Response): number => Date.parse(headers.get('date') ?? '')

function requireTogether(whose: string, theirs: number, its: number): void {
  const apartMs = Math.abs(theirs - its)
  if (apartMs > limits.clockSkewMs)
    throw new Wrong(`${whose} is ${Math.round(apartMs / 1000)} s away from the agent’s`, 'set the clock that is wrong')
}

async function lookAtDelegation(call: Call): Promise<string> {
  const { profile } = await profileOf(call)
  const { expires, day, total } = parseDelegation(envelopeFromJson(profile.delegation))
  const leftMs = expires - call.environment.clock.now()
  const renew = `start the agent anew, or, in the cloud, \`raincheck claim ${await call.agentUrl()}\``
  if (leftMs <= 0) throw new Wrong('has ended: the agent can neither buy nor announce', renew)
  const days = `ends in ${formatCount(Math.floor(leftMs / DAY_MS), 'day')}`
  if (leftMs < SOON_MS) throw new Wrong(days, renew)
  return `${days}; at most ${day} credits a day, ${total} in all`
}

async function lookAtGuard(call: Call): Promise<string> {
  const { stopped, since, spend, serve } = await (await call.agent()).ask<GuardJson>('GET', '/v1/guard')
  if (stopped) throw new Wrong(`the agent is stopped${since ? ` since ${timeOf(since)}` : ''}`, '`raincheck start`')
  if (spend.most !== undefined && BigInt(spend.used) >= BigInt(spend.most))
    throw new Wrong(
      `all ${spend.most} credits of today are spent: nothing is bought until midnight UTC`,
      'wait, or `raincheck caps --spend CREDITS`',
    )
  if (serve.most !== undefined && serve.most - serve.used < limits.pieceBytesDefault)
    throw new Wrong(
      `the ${formatBytes(serve.most)} of today are sent: nothing is sold until midnight UTC`,
      'wait, or `raincheck caps --serve SIZE`',
    )
  return 'sells and buys, within its caps'
}

const timeOf = (ms: number): string => new Date(ms).toISOString()

/** As the agent sees them: where it runs, they may be out of reach. */
async function lookAtReach(call: Call): Promise<string> {
  const agent = await call.agent()
  await agent.ask('GET', '/v1/balance')
  await agent.ask('GET', '/v1/search?query=doctor')
  return 'the agent reaches ledger and repository'
}

async function lookAtStorage(call: Call): Promise<string> {
  const links = await (await call.agent()).ask<LinkJson[]>('GET', '/v1/links')
  const [first] = links
  if (!first) throw new Wrong('none is linked', 'link one: `raincheck link folder DIR`')
  const shut = links.find(({ reason }) => reason !== undefined && reason !== 'storage-parked')
  if (shut)
    throw new Wrong(
      `'${shut.name}' cannot be used: ${shut.detail}`,
      shut.reason === 'storage-denied'
        ? `link it again, under the same name: \`raincheck link ${shut.kind} --name ${shut.name} …\``
        : `bring it back, or take it away: \`raincheck unlink ${shut.name}\`; where it only moved, its shares go on once it is linked again: \`raincheck link ${shut.kind} … --name ${shut.name}\``,
    )
  const { total, used } = first.quota ?? {}
  if (total === undefined || used === undefined) return links.map(({ name }) => name).join(', ')
  const room = total - used
  if (room < ROOM_BYTES) throw new Wrong(`'${first.name}' has ${formatBytes(room)} left`, 'make room, or link another')
  return `${links.map(({ name }) => name).join(', ')}; ${formatBytes(room)} free in '${first.name}'`
}

async function lookAtLedger(call: Call): Promise<string> {
  const { origin, unitPrice } = await (await call.ledger()).info()
  return `${origin}, ${unitPrice} a unit`
}

interface Broken {
  readonly kind: string
}

function requireNone(broken: readonly Broken[], whose: 'ledger' | 'repository'): void {
  if (broken.length === 0) return
  throw new Wrong(
    `the ${whose} broke its word: ${broken.map(({ kind }) => kind).join(', ')}`,
    `keep the proof (\`raincheck proofs --json\`) and show it; use another ${whose}`,
  )
}

async function lookAtLog(call: Call): Promise<string> {
  requireNone(await (await call.agent()).ask<readonly Broken[]>('GET', '/v1/proofs'), 'ledger')
  return 'one history, as far as the agent has seen'
}

async function lookAtFunds(call: Call): Promise<string> {
  const { available, frozen } = await (
    await call.agent()
  ).ask<{ available: string; frozen: string }>('GET', '/v1/balance')
  if (available === '0')
    throw new Wrong(`no credits are available, ${frozen} are frozen`, 'sell: `raincheck share PATH`')
  return `${available} credits available, ${frozen} frozen`
}

async function lookAtRepository(call: Call): Promise<string> {
  const repository = await call.repository()
  await repository.search('doctor')
  return `answers at ${repository.url}`
}

/** As anybody is told who shows an agent chains. */
const seenShape = z.object({ checkpoint: z.string().optional() })

/** The repository's log has to go on from what the agent has seen of it: else no chain of vouches through it counts. */
async function lookAtChains(call: Call): Promise<string> {
  requireNone(await (await call.agent()).ask<readonly Broken[]>('GET', '/v1/breaches'), 'repository')
  const json = { subject: toHex((await call.owner()).id), evidence: { identities: [], chains: [] } }
  const http = createHttpClient(call.environment, await call.agentUrl())
  const { checkpoint: seen } = await http.json({ method: 'POST', path: '/v1/chains', json }, seenShape)
  if (seen === undefined) return 'nothing is seen of the repository’s log yet'
  const repository = await call.repository()
  const { vkey } = await repository.info()
  const shown = await repository.checkpoint()
  const sizes = sizesOf([seen, shown], vkey)
  if (!sizes || sizes[0] > sizes[1])
    throw new Wrong(
      'the repository has not the log that the agent has followed: of chains of vouches, the first alone counts',
      'tell who runs it: with its key or its store lost, it goes on under another URL only, which is then REPOSITORY_URL',
    )
  return `rest on ${sizes[0]} entries of the repository’s log`
}

/** Entries of the logs at these checkpoints; undefined where one is of another log. */
function sizesOf(notes: readonly [string, string], vkey: string): readonly [number, number] | undefined {
  const sizeOf = (note: string): number => parseCheckpoint(openNote(note, [parseVerifierKey(vkey)]).text).size
  try {
    return [sizeOf(notes[0]), sizeOf(notes[1])]
  } catch (error) {
    return unlessBug(error)
  }
}

async function lookAtShares(call: Call): Promise<string> {
  const shares = await (await call.agent()).ask<ShareJson[]>('GET', '/v1/shares')
  const gone = shares.find((share) => share.withdrawn !== undefined)
  if (gone)
    throw new Wrong(
      `'${gone.name}' is withdrawn: ${gone.withdrawn}`,
      `share it again: \`raincheck share ${gone.path}\`, or end it: \`raincheck unshare ${gone.infoHash}\``,
    )
  const refused = shares.find((share) => share.refused !== undefined)
  if (refused)
    throw new Wrong(
      `nobody finds '${refused.name}': ${refused.refused}`,
      `share it in parts, or, at another repository, again: \`raincheck share ${refused.path}\`; one on AWS Lambda takes torrents of 4.5 MB`,
    )
  return `${shares.length} offered`
}

async function lookAtDownloads(call: Call): Promise<string> {
  const downloads = await (await call.agent()).ask<DownloadJson[]>('GET', '/v1/downloads')
  const stuck = downloads.find(({ state, reason }) => state === 'failed' || (state === 'waiting' && !isHeld(reason)))
  if (stuck)
    throw new Wrong(
      `'${stuck.name}' ${stuck.state === 'failed' ? 'failed' : 'waits'}: ${stuck.detail ?? stuck.reason}`,
      `mend that, then \`raincheck resume ${stuck.id}\`, or give it up: \`raincheck cancel ${stuck.id}\``,
    )
  const capped = downloads.find(({ state, reason }) => state === 'waiting' && reason === 'cap-reached')
  if (capped) throw new Wrong(`'${capped.name}' waits: ${capped.detail}`, 'wait, or `raincheck caps --spend CREDITS`')
  return `${downloads.filter(({ state }) => state === 'running').length} running`
}
