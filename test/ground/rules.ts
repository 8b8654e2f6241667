/** The rules of the ground: who imports whom, who touches the world, how large things get. Each gives its violations as lines. */
import { posix } from 'node:path'
import type { Facts, FunctionSpan, Import, Reference } from './source.ts'

export type Rule = (facts: Facts) => readonly string[]

const SERVICES = ['ledger', 'repository', 'agent']
const MAX_FILE_LINES = 400
const MAX_FUNCTION_LINES = 70

const folderOf = (path: string): string => path.split('/')[0] ?? ''
const isEntryPoint = (path: string): boolean =>
  /^(?:ledger|ledger\/witness|repository|agent)\/(?:node|lambda)\.ts$|^agent\/cli\/main\.ts$|^infra\/(?:local|aws)\/main\.ts$/.test(
    path,
  )
/** What is on the real world's side: the entry points and what they build it from. */
const isWorldly = (path: string): boolean => isEntryPoint(path) || /^infra\/(?:aws\/)?[^/]+\.ts$/.test(path)
/** A simulation that looked at the clock would not replay; its scheduler is what stands in for one. */
const isTest = (path: string): boolean =>
  folderOf(path) === 'test' && !/^test\/simulation\/(?!(?:main|scheduler|.*\.test)\.ts$)/.test(path)

/** Services meet over HTTP: each imports itself and `protocol`, an entry point what the world is made of as well. */
export const imports: Rule = (facts) => facts.imports.flatMap((found) => importViolation(facts.path, found))

function importViolation(path: string, { specifier, line }: Import): string[] {
  const at = `${path}:${line}`
  if (specifier === undefined) return [`${at} imports a computed name`]
  if (!specifier.startsWith('.')) return mayUse(path, specifier) ? [] : [`${at} may not use ${specifier}`]
  const target = posix.join(posix.dirname(path), specifier)
  if (!/\.(?:ts|json)$|^agent\/dashboard\/.*\.js$/.test(target))
    return [`${at} imports ${specifier} without its extension`]
  return mayImport(path, target) ? [] : [`${at} may not import ${target}`]
}

function mayImport(path: string, target: string): boolean {
  const [from, to] = [folderOf(path), folderOf(target)]
  if (from === 'test') return to !== '..'
  if (from === 'infra') return to === 'infra' || to === 'protocol' || SERVICES.includes(to)
  return to === from || (to === 'protocol' && SERVICES.includes(from)) || (to === 'infra' && isEntryPoint(path))
}

/** Where a package may be used. One that is not named here is a vendor's. */
const PACKAGES: readonly (readonly [name: RegExp, where: RegExp])[] = [
  [/^#primitives$/, /./],
  [/^(?:hono|zod|@hono\/zod-openapi)$/, /./],
  [/^structured-headers$/, /^protocol\//],
  [/^@noble\//, /^protocol\/primitives-noble\.ts$/],
  [/^age-encryption$/, /^agent\//],
  [/^bittorrent-protocol$/, /^agent\/bittorrent\//],
  [/^@hono\/node-server$/, /^infra\/|(?:\/|-)node\.ts$/],
  [/^node:crypto$/, /^protocol\/primitives-node\.ts$|^infra\//],
  [/^node:module$/, /^(?:infra\/local|agent\/cli)\/main\.ts$|^infra\/aws\/deploy\.ts$/],
  [
    /^node:(?:process|timers.*|perf_hooks|vm|worker_threads|cluster|child_process)$/,
    /^infra\/local\/main\.ts$|^infra\/aws\/deploy\.ts$/,
  ],
  [/^node:/, /^(?:agent|infra)\/|\/node\.ts$/],
]
const VENDORS =
  /^agent\/storage\/|^infra\/store\/dynamodb[-.]|^infra\/objects-in-bucket\.ts$|^infra\/(?:aws|lambda)\/|\/(?:node|lambda)\.ts$/

function mayUse(path: string, specifier: string): boolean {
  if (folderOf(path) === 'test') return true
  const name = packageOf(specifier)
  const [, where] = PACKAGES.find(([known]) => known.test(name)) ?? [undefined, VENDORS]
  return where.test(path)
}

const packageOf = (specifier: string): string =>
  specifier.startsWith('node:') ? specifier : specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

/** Time, randomness, network and settings are handed in. */
export const world: Rule = ({ path, references }) =>
  isWorldly(path) || isTest(path)
    ? []
    : references.filter(readsTheWorld).map(({ name, line }) => `${path}:${line} reaches for ${name}`)

const WORLD = new Set([
  'process',
  'performance',
  'crypto',
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'EventSource',
  'navigator',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'require',
  'globalThis',
  'global',
  'window',
  'self',
])

/** Parsing and formatting a given time is no look at the clock. */
function readsTheWorld({ name, member, constructorArguments = 0 }: Reference): boolean {
  if (name === 'Date') return constructorArguments === 0 && member !== 'parse' && member !== 'UTC'
  if (name === 'Math') return member === undefined || member === 'random'
  if (name === 'AbortSignal') return member === 'timeout'
  return WORLD.has(name)
}

/** A name is imported from where it is declared. */
export const barrels: Rule = ({ path, declaresNothing, exportsAll }) => [
  ...(/(?:^|\/)(?:index|utils|helpers|common|misc)\.ts$/.test(path) ? [`${path} has a name that says nothing`] : []),
  ...(declaresNothing && !path.startsWith('test/') ? [`${path} declares nothing of its own`] : []),
  ...(exportsAll ? [`${path} exports all of another file`] : []),
]

/** A checker is not silenced. */
export const escapes: Rule = ({ path, anys, silencers }) => [
  ...anys.map((line) => `${path}:${line} uses any`),
  ...silencers.map((line) => `${path}:${line} silences a checker`),
]

export const sizes: Rule = ({ path, lines, functions }) => [
  ...(lines > MAX_FILE_LINES ? [`${path} has ${lines} lines`] : []),
  ...functions.filter(isTooLong).map((span) => `${path}:${span.line} has a function of ${span.lines} lines`),
]

/** The body of a `describe` groups tests; it is not read as one function. */
const isTooLong = ({ lines, passedTo }: FunctionSpan): boolean => lines > MAX_FUNCTION_LINES && passedTo !== 'describe'
