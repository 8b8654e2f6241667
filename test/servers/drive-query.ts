/** The `q` of `files.list` in as much as a driver may use it (Drive API, "Search query terms and operators"). */
import type { DriveFile } from './drive-state.ts'

type Test = (file: DriveFile) => boolean

const TOKEN = /\s*(?:'((?:[^'\\]|\\['\\])*)'|([(){}]|!=|=)|([A-Za-z]+))/y

interface Token {
  readonly kind: 'text' | 'sign' | 'word'
  readonly value: string
}

/** @returns undefined where it does not parse */
export function parseQuery(query: string): Test | undefined {
  const tokens = tokensOf(query)
  if (!tokens) return undefined
  let at = 0
  const is = (value: string): boolean => tokens[at]?.kind !== 'text' && tokens[at]?.value === value
  const take = (value: string): boolean => is(value) && at++ >= 0
  const text = (): string | undefined => (tokens[at]?.kind === 'text' ? tokens[at++]?.value : undefined)

  function either(): Test | undefined {
    let left = both()
    while (left && take('or')) {
      const [a, b] = [left, both()]
      left = b && ((file) => a(file) || b(file))
    }
    return left
  }
  function both(): Test | undefined {
    let left = one()
    while (left && take('and')) {
      const [a, b] = [left, one()]
      left = b && ((file) => a(file) && b(file))
    }
    return left
  }
  function one(): Test | undefined {
    if (take('not')) {
      const inner = one()
      return inner && ((file) => !inner(file))
    }
    if (take('(')) {
      const inner = either()
      return take(')') ? inner : undefined
    }
    const literal = text()
    if (literal !== undefined)
      return take('in') && take('parents') ? ({ parents }) => parents.includes(literal) : undefined
    return term()
  }
  function term(): Test | undefined {
    if (take('trashed')) {
      if (!take('=')) return undefined
      const wanted = take('true') ? true : take('false') ? false : undefined
      return wanted === undefined ? undefined : ({ trashed }) => trashed === wanted
    }
    if (take('appProperties')) return property()
    const field = take('name') ? 'name' : take('mimeType') ? 'mimeType' : undefined
    if (!field) return undefined
    const differs = take('!=')
    if (!differs && !take('=')) return undefined
    const value = text()
    // Drive compares names without regard to case.
    const fold = (name: string): string => (field === 'name' ? name.toLowerCase() : name)
    return value === undefined ? undefined : (file) => (fold(file[field]) === fold(value)) !== differs
  }
  function property(): Test | undefined {
    if (!(take('has') && take('{') && take('key') && take('='))) return undefined
    const key = text()
    if (key === undefined || !(take('and') && take('value') && take('='))) return undefined
    const value = text()
    if (value === undefined || !take('}')) return undefined
    return ({ appProperties }) => appProperties[key] === value
  }
  const test = either()
  return at === tokens.length ? test : undefined
}

function tokensOf(query: string): Token[] | undefined {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < query.trimEnd().length) {
    const [, text, sign, word] = TOKEN.exec(query) ?? []
    if (text !== undefined) tokens.push({ kind: 'text', value: text.replaceAll(/\\(['\\])/g, '$1') })
    else if (sign !== undefined) tokens.push({ kind: 'sign', value: sign })
    else if (word !== undefined) tokens.push({ kind: 'word', value: word })
    else return undefined
  }
  return tokens
}
