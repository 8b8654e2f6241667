import { createReadStream } from 'node:fs'
import { z } from 'zod'
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { Problem } from '../../../protocol/problem.ts'
import {
  bookFromJson,
  bookToJson,
  checkBook,
  writeBook,
  type Book,
  type BookHead,
  type BookJson,
  type Vouch,
} from '../../../protocol/vouch.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import type { OwnerClient } from '../owner-client.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'
import { idOf } from '../words.ts'

interface TrustJson {
  book?: BookJson
  distrusted: string[]
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

/** What a repository says of the newest book that it has. */
const conflictShape = z.object({ seq: z.int(), head: z.string() })

const UNTRUSTED = { trusted: false, depth: -1, credit: 0, chain: [] }
const SALT_BYTES = 16
const DEFAULT_CREDIT = 16
const DEFAULT_EXPIRES = '30d'

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

/** Publishes the owner's next book, signed by the owner's own key. */
async function rewrite(
  call: Call,
  id: string,
  change: (vouches: readonly Vouch[]) => readonly Vouch[],
): Promise<Answer> {
  await publish(call, change)
  return verdict(await call.agent(), id)
}

async function publish(call: Call, change: (vouches: readonly Vouch[]) => readonly Vouch[]): Promise<void> {
  await publishAfter(call, change).catch((error: unknown) => publishAfter(call, change, newestIn(error)))
}

/** @param newest of the repository's, where it is not the agent's */
async function publishAfter(
  call: Call,
  change: (vouches: readonly Vouch[]) => readonly Vouch[],
  newest?: Place,
): Promise<void> {
  const agent = await call.agent()
  const { book } = await agent.ask<TrustJson>('GET', '/v1/trust')
  const before = book && bookFromJson(book)
  const last = before && checkBook(before)
  const after = newest && (!last || last.seq <= newest.seq) ? newest : last
  const next = await nextBook(call, after, change(before?.vouches ?? []))
  await agent.ask('PUT', '/v1/trust', { book: bookToJson(next) })
}

type Place = Pick<BookHead, 'seq' | 'id'>

/** A book that the owner's agent knows nothing of, such as a thief's, has its number all the same. @throws what tells of none */
function newestIn(error: unknown): Place {
  const { success, data } = conflictShape.safeParse(error instanceof Problem && error.members)
  if (!success) throw error
  return { seq: data.seq, id: fromHex(data.head, 32) }
}

async function nextBook(call: Call, last: Place | undefined, vouches: readonly Vouch[]): Promise<Book> {
  const nowMs = call.environment.clock.now()
  const { id: issuer } = await call.owner()
  const terms = {
    issuer,
    seq: last ? last.seq + 1 : 0,
    ...(last ? { prev: last.id } : {}),
    issued: nowMs,
    expires: nowMs + limits.bookMs,
  }
  return writeBook(
    terms,
    vouches.filter((vouch) => vouch.expires > nowMs),
    await call.signer(),
  )
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
  const { book } = await (await call.agent()).ask<TrustJson>('GET', '/v1/trust')
  const isPruned = ({ subject }: Vouch): boolean => pruned.has(toHex(subject))
  if (book === undefined || !bookFromJson(book).vouches.some(isPruned)) return
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
