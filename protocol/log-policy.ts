/**
 * Which logs and witnesses somebody knows, and how many of the witnesses a checkpoint needs: a text file (C2SP
 * tlog-policy).
 *
 * @example
 * witness W1 w1.example+… https://w1.example
 * witness W2 w2.example+…
 * group both all W1 W2
 * quorum both
 */
import { equal } from './bytes.ts'
import { parseCheckpoint, parseVerifierKey, type Checkpoint, type Note, type NoteKey } from './checkpoint.ts'
import { readCosignatures, type Cosignature } from './cosignature.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

/** A key, and where its owner is reached. */
export interface Known {
  readonly key: NoteKey
  /** Without a trailing slash. */
  readonly url?: string
}

export interface LogPolicy {
  /** The name of a log's key is its origin. */
  readonly logs: readonly Known[]
  readonly witnesses: readonly Known[]
  /** Whether these witnesses, together, are enough. */
  readonly isQuorum: (cosigners: readonly NoteKey[]) => boolean
}

type Rule = (cosigners: readonly NoteKey[]) => boolean

const ENTRIES_MAX = 64

/** @throws Problem `bad-encoding`, its detail naming the line */
export function parseLogPolicy(text: string): LogPolicy {
  const logs: Known[] = []
  const witnesses: Known[] = []
  const rules = new Map<string, Rule>()
  const members = new Set<string>()
  let quorum: Rule | undefined

  function define(name: string, rule: Rule): void {
    if (name === 'none' || rules.has(name)) throw malformed(`the name ${name} is taken`)
    if (rules.size === ENTRIES_MAX) throw malformed(`there are more than ${ENTRIES_MAX} names`)
    rules.set(name, rule)
  }

  function ruleOf(name: string): Rule {
    const rule = rules.get(name)
    if (!rule) throw malformed(`${name} is not defined above`)
    return rule
  }

  function memberOf(name: string): Rule {
    const rule = ruleOf(name)
    if (members.has(name)) throw malformed(`${name} is in a group already`)
    members.add(name)
    return rule
  }

  const statements: Readonly<Record<string, (...items: string[]) => void>> = {
    log(vkey = '', url, ...rest) {
      known(logs, parseVerifierKey(vkey), url, rest)
    },
    witness(name = '', vkey = '', url, ...rest) {
      const key = parseVerifierKey(vkey, 'cosignature')
      known(witnesses, key, url, rest)
      define(name, (cosigners) => cosigners.some((cosigner) => equal(cosigner.key, key.key)))
    },
    group(name = '', threshold = '', ...names) {
      const least = thresholdOf(threshold, names.length)
      const rulesOfMembers = names.map(memberOf)
      define(name, (cosigners) => rulesOfMembers.filter((rule) => rule(cosigners)).length >= least)
    },
    quorum(name = '', ...rest) {
      if (quorum || rest.length > 0) throw malformed('there is one quorum, of one name')
      quorum = name === 'none' ? () => true : ruleOf(name)
    },
  }

  for (const [i, line] of text.split('\n').entries()) {
    const [word = '', ...items] = line.split(/[ \t]+/).filter((item) => item !== '')
    if (word === '' || word.startsWith('#')) continue
    try {
      if (hasControl(line)) throw malformed('it holds a control character')
      if (!Object.hasOwn(statements, word)) throw malformed(`${word} is no statement`)
      statements[word]?.(...items)
    } catch (error) {
      if (error instanceof Problem) throw malformed(`line ${i + 1}: ${error.message}`)
      throw error
    }
  }
  if (!quorum) throw malformed('it names no quorum')
  return { logs, witnesses, isQuorum: quorum }
}

const hasControl = (line: string): boolean =>
  Array.from(line).some((character) => (character < ' ' && character !== '\t') || character === '\u007f')

function known(list: Known[], key: NoteKey, url: string | undefined, rest: readonly string[]): void {
  if (rest.length > 0) throw malformed('there is something after the URL')
  if (list.some((other) => equal(other.key.key, key.key))) throw malformed('the key is there already')
  list.push({ key, ...(url !== undefined && { url: checkUrl(url) }) })
}

function checkUrl(url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw malformed(`${url} is no URL`)
  return url.replace(/\/+$/, '')
}

function thresholdOf(text: string, members: number): number {
  if (members === 0) throw malformed('a group has a member')
  if (text === 'all') return members
  if (text === 'any') return 1
  const least = /^[1-9]\d{0,2}$/.test(text) ? Number(text) : 0
  if (least < 1 || least > members) throw malformed(`of ${members} members, ${text} cannot be asked for`)
  return least
}

const malformed = (what: string): Problem => new Problem('bad-encoding', what)

/** A checkpoint, and who vouches for it. */
export interface Witnessed extends Checkpoint {
  readonly cosignatures: readonly Cosignature[]
}

/**
 * The checkpoint of a note that was opened with the log's key, once enough witnesses have vouched for it lately.
 * @throws Problem `bad-encoding`, `bad-signature`, `unwitnessed` with `fresh`, the names of those who have
 */
export function requireWitnessed(
  { text, unknown }: Note,
  { witnesses, isQuorum }: Pick<LogPolicy, 'witnesses' | 'isQuorum'>,
  nowMs: number,
): Witnessed {
  const keys = witnesses.map(({ key }) => key)
  const cosignatures = readCosignatures(text, unknown, keys).filter(({ timeSeconds }) => isFresh(timeSeconds, nowMs))
  const fresh = cosignatures.map(({ witness }) => witness)
  if (!isQuorum(fresh)) {
    const names = fresh.map(({ name }) => name)
    throw new Problem(
      'unwitnessed',
      `${names.length} of ${keys.length} witnesses have cosigned the checkpoint lately.`,
      {
        fresh: names,
      },
    )
  }
  return { ...parseCheckpoint(text), cosignatures }
}

/** When enough witnesses had seen that this was the newest: the time of the last one that it takes; Infinity where none is needed. */
export function witnessedMs(cosignatures: readonly Cosignature[], { isQuorum }: Pick<LogPolicy, 'isQuorum'>): number {
  if (isQuorum([])) return Infinity
  const latest = cosignatures.toSorted((a, b) => b.timeSeconds - a.timeSeconds)
  const needed = latest.findIndex((_, i) => isQuorum(latest.slice(0, i + 1).map(({ witness }) => witness)))
  return (latest[needed]?.timeSeconds ?? 0) * 1000
}

const isFresh = (timeSeconds: number, nowMs: number): boolean =>
  timeSeconds * 1000 > nowMs - limits.cosignatureMs && timeSeconds * 1000 <= nowMs + limits.clockSkewMs
