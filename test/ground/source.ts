/** What the rules of the ground ask about one source file, read off its syntax tree. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { parseAst } from 'rolldown/parseAst'

/** `path` from the project's folder, with `/`. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

export interface Import {
  /** Undefined where it is computed. */
  readonly specifier: string | undefined
  readonly line: number
}

/** A name that stands for a value, whoever declared it. */
export interface Reference {
  readonly name: string
  /** `b` of `a.b`. */
  readonly member?: string
  /** Of `new a(…)`. */
  readonly constructorArguments?: number
  readonly line: number
}

export interface FunctionSpan {
  readonly line: number
  /** Its own: a function inside it counts as one line here, and for itself. */
  readonly lines: number
  /** The name of the function that is called with it. */
  readonly passedTo?: string
}

export interface Facts {
  readonly path: string
  readonly lines: number
  readonly imports: readonly Import[]
  readonly references: readonly Reference[]
  readonly functions: readonly FunctionSpan[]
  /** Lines with the type `any`. */
  readonly anys: readonly number[]
  /** Lines with a comment that silences a checker. */
  readonly silencers: readonly number[]
  readonly declaresNothing: boolean
  readonly exportsAll: boolean
}

export const FOLDERS = ['protocol', 'ledger', 'repository', 'agent', 'infra', 'test']

export function readSources(root: string): SourceFile[] {
  const paths = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
  )
  return paths
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.split(sep).join('/'), text: readFileSync(join(root, path), 'utf8') }))
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** A node, where it hangs: `parent[key]` holds it. */
interface Place {
  readonly node: Node
  readonly parent: Node | undefined
  readonly key: string
}

const SILENCER = /(?:@ts-(?:ignore|nocheck|expect-error)|(?:ox|es)lint-disable|(?:oxfmt|prettier)-ignore)/
const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'])
const IMPORTS = new Set([
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportAllDeclaration',
  'ImportExpression',
  'TSImportType',
])

export function factsOf({ path, text }: SourceFile): Facts {
  const program = parseAst(text, { lang: 'ts', sourceType: 'module' }) as unknown as Node
  const places = placesIn({ node: program, parent: undefined, key: '' })
  const lineOf = lineReader(text)
  const body = program['body'] as readonly Node[]
  return {
    path,
    lines: lineOf(text.length),
    imports: places.flatMap((place) => importOf(place, lineOf)),
    references: places.flatMap((place) => referenceOf(place, lineOf)),
    functions: places.filter(isFunction).map((place) => spanOf(place, lineOf)),
    anys: places.filter(({ node }) => node.type === 'TSAnyKeyword').map(({ node }) => lineOf(node.start)),
    silencers: text.split('\n').flatMap((line, i) => (SILENCER.test(line) ? [i + 1] : [])),
    declaresNothing: body.length > 0 && body.every(handsOn),
    exportsAll: body.some(({ type }) => type === 'ExportAllDeclaration'),
  }
}

/** All of them, each before those inside it. */
function placesIn(place: Place, places: Place[] = []): readonly Place[] {
  places.push(place)
  for (const [key, value] of Object.entries(place.node)) {
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (isNode(child)) placesIn({ node: child, parent: place.node, key }, places)
    }
  }
  return places
}

const isFunction = ({ node }: Place): boolean => FUNCTIONS.has(node.type)

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'

type LineOf = (offset: number) => number

function lineReader(text: string): LineOf {
  const ends = [...Array.from(text.trimEnd().matchAll(/\n/g), ({ index }) => index), Infinity]
  return (offset) => ends.findIndex((end) => end >= offset) + 1
}

function importOf({ node }: Place, lineOf: LineOf): Import[] {
  const source = node['source']
  if (!IMPORTS.has(node.type) || !isNode(source)) return []
  const specifier = source.type === 'Literal' ? String(source['value']) : undefined
  return [{ specifier, line: lineOf(node.start) }]
}

function referenceOf({ node, parent, key }: Place, lineOf: LineOf): Reference[] {
  if (node.type !== 'Identifier' || !parent || isLabel(parent, key)) return []
  const reference = { name: node['name'] as string, line: lineOf(node.start) }
  if (parent.type === 'MemberExpression') return [{ ...reference, ...memberOf(parent) }]
  if (parent.type !== 'NewExpression' || key !== 'callee') return [reference]
  return [{ ...reference, constructorArguments: (parent['arguments'] as unknown[]).length }]
}

/** Whether it names a member, a key or a type rather than a value. */
function isLabel(parent: Node, key: string): boolean {
  if (key === 'property' || key === 'key') return parent['computed'] !== true
  return key === 'typeName' || key === 'exprName' || key === 'imported' || parent.type.startsWith('TSQualified')
}

function memberOf(member: Node): { member?: string } {
  const property = member['property'] as Node
  return member['computed'] === true ? {} : { member: property['name'] as string }
}

function spanOf({ node, parent }: Place, lineOf: LineOf): FunctionSpan {
  const line = lineOf(node.start)
  const inside = functionsInside(node).reduce((sum, inner) => sum + lineOf(inner.end) - lineOf(inner.start), 0)
  const span = { line, lines: lineOf(node.end) - line + 1 - inside }
  const callee = parent?.type === 'CallExpression' ? rootOf(parent['callee'] as Node) : undefined
  return callee === undefined ? span : { ...span, passedTo: callee }
}

/** The outermost ones. */
function functionsInside(node: Node): Node[] {
  const children = Object.values(node).flat().filter(isNode)
  return children.flatMap((child) => (FUNCTIONS.has(child.type) ? [child] : functionsInside(child)))
}

/** `describe` of `describe.each(…)(…)`. */
function rootOf(callee: Node): string | undefined {
  if (callee.type === 'Identifier') return callee['name'] as string
  const inner = callee['object'] ?? callee['callee'] ?? callee['tag']
  return isNode(inner) ? rootOf(inner) : undefined
}

const handsOn = ({ type, ...node }: Node): boolean =>
  type === 'ImportDeclaration' ||
  type === 'ExportAllDeclaration' ||
  (type === 'ExportNamedDeclaration' && node['declaration'] === null)
