import { createReadStream } from 'node:fs'
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { Problem } from '../../../protocol/problem.ts'
import type { Vouch } from '../../../protocol/vouch.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import { newestBook, publish, revouch, type Rewrite, type TrustJson } from '../own-book.ts'
import type { OwnerClient } from '../owner-client.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'
import { idIn, idOf } from '../words.ts'

interface LapsedJson {
  id: string
  depth: number
  credit: number
  since: number
  expires: number
}
interface PruneJson {
  pruned: string[]
  lost: string[]
  weaker: { id: string; depth: number; credit: number }[]
  vouchers: { id: string; halved: number }[]
  isWhole: boolean
}
interface NoticeJson {
  by: string
  subject: string
  times: number
  issued: number
}
interface NodeJson {
  id: string
  by: string
  hop: number
  depth: number
  credit: number
  left: number
  vouch: { depth: number; credit: number; expires: number }
}
interface TreeJson {
  isWhole: boolean
  distrusted: string[]
  nodes: NodeJson[]
}
interface VerdictJson {
  id: string
  trusted: boolean
  depth: number
  credit: number
  chain: string[]
}

const UNTRUSTED = { trusted: false, depth: -1, credit: 0, chain: [] }
const SALT_BYTES = 16
const DEFAULT_CREDIT = 16
const DEFAULT_EXPIRES = '30d'
const CHOICES =
  'None of them counts until you say which are yours: `raincheck revouch ID…`, or `raincheck revouch --all --except ID`. A thief writes any date, and may have changed depth and credit.'

export const trustCommands: Commands = {
  vouch: {
    usage: 'ID [--depth N] [--credit PIECES] [--expires DURATION]',
    summary: 'Vouch for an id: how far its own vouches count, and how many pieces it may owe',
    options: { depth: { type: 'string' }, credit: { type: 'string' }, expires: { type: 'string' } },
    takes: [1, 1],
    run: async (call) => {
      const id = idOf(call)
      const vouch = { ...termsOf(call), subject: fromHex(id) }
      return rewrite(call, id, (vouches) => [...vouches.filter(isAbout(id, false)), vouch])
    },
  },
  unvouch: {
    usage: 'ID',
    summary: 'Take a vouch back',
    takes: [1, 1],
    run: async (call) => {
      const id = idOf(call)
      return rewrite(call, id, (vouches) => vouches.filter(isAbout(id, false)))
    },
  },
  revouch: {
    usage: '[ID… | --all [--except ID]… | --none]',
    summary:
      'After a recovery: show the vouches of the key that was put out, or sign again those you choose, and no other',
    options: { all: { type: 'boolean' }, except: { type: 'string', multiple: true }, none: { type: 'boolean' } },
    takes: [0, limits.vouchesPerBook],
    run: revouchSome,
  },
  distrust: {
    usage: 'ID [--tree] [--preview]',
    summary: 'Never trust an id, whoever vouches for it; take your own vouch back. --tree: nor anyone it brought in',
    options: { tree: { type: 'boolean' }, preview: { type: 'boolean' } },
    takes: [1, 1],
    run: distrust,
  },
  undistrust: {
    usage: 'ID',
    summary: 'Take a distrust back: the id is trusted as far as vouches lead to it',
    takes: [1, 1],
    async run(call) {
      const id = idOf(call)
      const agent = await call.agent()
      const { distrusted } = await agent.ask<TrustJson>('GET', '/v1/trust')
      await agent.ask('PUT', '/v1/trust', { distrusted: distrusted.filter((one) => one !== id) })
      return verdict(agent, id)
    },
  },
  notices: {
    usage: '',
    summary: 'Who believes your vouches less, and for whom you vouched',
    takes: [0, 0],
    run: notices,
  },
  trust: {
    usage: '[ID]',
    summary: 'Whether you trust an id; without one: the tree of all you trust, and whom you distrust',
    takes: [0, 1],
    run: async (call) => (call.args.length === 0 ? overview(call) : verdict(await call.agent(), idOf(call))),
  },
  chain: {
    usage: 'ID',
    summary: 'The vouches that lead from you to an id',
    takes: [1, 1],
    run: async (call) => verdict(await call.agent(), idOf(call)),
  },
  graph: {
    usage: 'EDGES.csv --root ID [--depth 4] [--distrust ID]… [--unvouch A,B]…',
    summary: 'What a root would trust in any vouch graph, and whom it would lose (offline)',
    options: {
      root: { type: 'string' },
      depth: { type: 'string' },
      distrust: { type: 'string', multiple: true },
      unvouch: { type: 'string', multiple: true },
    },
    takes: [1, 1],
    run: graphOf,
  },
}

const isAbout = (id: string, wanted: boolean) => (vouch: Vouch) => (toHex(vouch.subject) === id) === wanted

function termsOf(call: Call): Omit<Vouch, 'subject'> {
  const nowMs = call.environment.clock.now()
  return {
    depth: wholeNumber(call, 'depth', 0, limits.vouchDepth),
    credit: wholeNumber(call, 'credit', DEFAULT_CREDIT, limits.vouchCredit),
    scope: '',
    notBefore: nowMs,
    expires: nowMs + lifetimeMs(call.text('expires') ?? DEFAULT_EXPIRES),
    salt: call.environment.random.bytes(SALT_BYTES),
  }
}

function wholeNumber(call: Call, name: string, otherwise: number, most: number): number {
  const text = call.text(name)
  const value = text === undefined ? otherwise : Number(text)
  if (!/^\d+$/.test(text ?? '0') || value > most) throw new UsageError(`--${name} takes a number from 0 to ${most}.`)
  return value
}

function lifetimeMs(text: string): number {
  const ms = durationMs(text)
  if (ms === undefined) throw new UsageError('--expires takes a number and one of s, m, h, d, such as 30d.')
  if (ms > limits.vouchMs) throw new UsageError('--expires takes at most 90d: vouch again then.')
  return ms
}

async function rewrite(call: Call, id: string, change: Rewrite): Promise<Answer> {
  await publish(call, change)
  return verdict(await call.agent(), id)
}

/** Without words, those there are; nothing is signed by looking. */
async function revouchSome(call: Call): Promise<Answer> {
  const choice = choiceOf(call)
  if (choice) {
    await revouch(call, choice)
    return overview(call)
  }
  const json = (await newestBook(call)).lapsed.map(({ subject, depth, credit, notBefore, expires }) => ({
    id: toHex(subject),
    depth,
    credit,
    since: notBefore,
    expires,
  }))
  return { json, text: lapsedText(json) }
}

/** What the owner says of the vouches that have lapsed. @throws UsageError where it is not one thing */
function choiceOf(call: Call): Rewrite | undefined {
  const ids = call.args.map((word) => idIn(word))
  const except = call.all('except').map((word) => idIn(word))
  const [all, none] = [call.flag('all'), call.flag('none')]
  if ([ids.length > 0, all, none].filter(Boolean).length > 1 || (except.length > 0 && !all))
    throw new UsageError('Name those to sign again, or --all, with --except ID for each that is not yours, or --none.')
  if (none) return () => []
  if (ids.length === 0 && !all) return undefined
  return (lapsed) => {
    const named = all ? except : ids
    const unknown = named.find((id) => !lapsed.some(isAbout(id, true)))
    if (unknown !== undefined) throw new Problem('not-found', `None of them is for ${unknown}.`)
    return lapsed.filter(({ subject }) => named.includes(toHex(subject)) !== all)
  }
}

function lapsedText(lapsed: readonly LapsedJson[]): string {
  if (lapsed.length === 0) return 'There is no vouch to sign again.'
  const rows = lapsed.map(({ id, depth, credit, since, expires }) => [
    id,
    String(depth),
    String(credit),
    timeText(since),
    timeText(expires),
  ])
  return `${table(rows, ['id', 'depth', 'credit', 'since', 'until'])}\n${CHOICES}`
}

/** With --preview, what it would come to: nothing is changed. */
async function distrust(call: Call): Promise<Answer> {
  const id = idOf(call)
  const agent = await call.agent()
  const preview = call.flag('preview')
  const request = { tree: call.flag('tree'), preview }
  const prune = await agent.ask<PruneJson>('POST', `/v1/trust/${id}/distrust`, request)
  if (!preview) await takeBack(call, new Set(prune.pruned))
  const json = { ...(await askVerdict(agent, id)), preview, ...prune }
  return { json, text: pruneText(json) }
}

/** Own vouches for those whom the owner distrusts. */
async function takeBack(call: Call, pruned: ReadonlySet<string>): Promise<void> {
  const isPruned = ({ subject }: Vouch): boolean => pruned.has(toHex(subject))
  if (!(await newestBook(call)).vouches.some(isPruned)) return
  await publish(call, (vouches) => vouches.filter((vouch) => !isPruned(vouch)))
}

function pruneText({
  id,
  preview,
  lost,
  weaker,
  vouchers,
  isWhole,
}: PruneJson & { id: string; preview: boolean }): string {
  const would = preview ? 'would be ' : ''
  const lines = [
    `${id} ${preview ? 'would be distrusted (nothing is changed)' : 'is distrusted'}`,
    `${lost.length} ${would}lost${lost.length === 0 ? '' : `:\n  ${lost.join('\n  ')}`}`,
    ...weaker.map((one) => `${one.id} ${would}left with depth ${one.depth}, credit ${one.credit} pieces`),
    ...vouchers.map(
      ({ id: voucher, halved }) => `${voucher} vouched for it: ${would}believed ${1 / 2 ** halved} as much`,
    ),
    ...(isWhole ? [] : ['Not all books around you could be read: there may be more.']),
  ]
  return lines.join('\n')
}

async function notices(call: Call): Promise<Answer> {
  const json = await (await call.agent()).ask<NoticeJson[]>('GET', '/v1/notices')
  const rows = json.map(({ by, subject, times, issued }) => [
    timeText(issued),
    by,
    `believes you ${1 / 2 ** times} as much, as you vouch for ${subject}`,
  ])
  return { json, text: table(rows) }
}

const askVerdict = (agent: OwnerClient, id: string): Promise<VerdictJson> =>
  agent.ask<VerdictJson>('GET', `/v1/trust/${id}`)

async function verdict(agent: OwnerClient, id: string): Promise<Answer> {
  const json = await askVerdict(agent, id)
  const path = json.chain.length === 0 ? '' : `\n  ${json.chain.join('\n  -> ')}`
  const { distrusted } = json.trusted ? { distrusted: [] } : await agent.ask<TrustJson>('GET', '/v1/trust')
  const why = distrusted.includes(id) ? `, you distrust it: \`raincheck undistrust ${id}\`` : ''
  return { json, text: `${id}: ${verdictText(json)}${why}${path}` }
}

const verdictText = ({ trusted, depth, credit }: VerdictJson): string =>
  trusted ? `trusted, depth ${depth}, credit ${credit} pieces` : 'not trusted'

/** Everyone whom the owner trusts, as a tree, then whom it distrusts. */
async function overview(call: Call): Promise<Answer> {
  const agent = await call.agent()
  const [{ nodes, distrusted, isWhole }, { id }] = [
    await agent.ask<TreeJson>('GET', '/v1/trust/tree'),
    await call.owner(),
  ]
  const owner = toHex(id)
  const chains = new Map([[owner, [owner]]])
  for (const node of nodes) chains.set(node.id, [...(chains.get(node.by) ?? []), node.id])
  const trusted = nodes.map(({ by, vouch, ...node }) => ({
    ...node,
    trusted: true,
    by,
    chain: chains.get(node.id) ?? [],
    distrusted: false,
    expires: vouch.expires,
    ...(by === owner && { vouch }),
  }))
  const others = distrusted.map((one) => ({ id: one, ...UNTRUSTED, distrusted: true }))
  return { json: [...trusted, ...others], text: treeText(owner, nodes, distrusted, isWhole) }
}

function treeText(owner: string, nodes: readonly NodeJson[], distrusted: readonly string[], isWhole: boolean): string {
  const under = Map.groupBy(nodes, ({ by }) => by)
  const draw = (by: string, indent: string): string[] =>
    (under.get(by) ?? []).flatMap((node, i, siblings) => {
      const isLast = i === siblings.length - 1
      return [
        `${indent}${isLast ? '└─ ' : '├─ '}${nodeText(node)}`,
        ...draw(node.id, indent + (isLast ? '   ' : '│  ')),
      ]
    })
  const lines = [
    `${owner} (you)`,
    ...draw(owner, ''),
    ...distrusted.map((id) => `${id}  distrusted`),
    ...(isWhole ? [] : ['Not all books around you could be read, or there are more ids.']),
  ]
  return lines.join('\n')
}

const nodeText = ({ id, depth, credit, left, vouch }: NodeJson): string =>
  `${id}  depth ${depth}, credit ${left} of ${credit} left, until ${timeText(vouch.expires)}`

async function graphOf(call: Call): Promise<Answer> {
  const root = call.text('root')
  const depth = wholeNumber(call, 'depth', limits.vouchDepth, limits.vouchDepth)
  if (root === undefined) throw new UsageError('--root is needed: the id whose trust is worked out.')
  const { graph } = await import('../graph.ts')
  return graph(
    {
      path: call.resolvePath(call.args[0] as string),
      root,
      depth,
      distrust: call.all('distrust'),
      unvouch: call.all('unvouch'),
    },
    { read: (path) => createReadStream(path), monotonicMs: () => call.monotonicMs() },
  )
}
