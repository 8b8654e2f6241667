/** Names of files as torrents and storages may bear them: relative, in NFC, safe on every system, distinct on all. */
import { utf8 } from './bytes.ts'
import { limits } from './limits.ts'
import { Problem, type ProblemCode } from './problem.ts'

export type FilePath = readonly string[]

/** Control characters (category Cc), and what separates names on some system. */
const UNSAFE = /[\p{Cc}/\\]/u
const ASCII = /^\p{ASCII}*$/u

/** What is wrong with one name of a path. */
export function nameFault(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name === '.' || name === '..') return 'leads to another folder'
  if (UNSAFE.test(name)) return 'holds a control character, a slash or a backslash'
  if (!name.isWellFormed()) return 'is not well-formed Unicode'
  return utf8(name).length > limits.nameBytes ? `is longer than ${limits.nameBytes} bytes` : undefined
}

/** @throws Problem of the given code unless the path is relative, within the limits, and each name is safe */
export function checkPath(path: FilePath, code: ProblemCode): void {
  const text = JSON.stringify(path.join('/').slice(0, 200))
  if (path.length === 0 || path.length > limits.pathDepth) {
    throw new Problem(code, `The path ${text} has none or more than ${limits.pathDepth} names.`)
  }
  for (const name of path) {
    const fault = nameFault(name)
    if (fault !== undefined) throw new Problem(code, `A name in the path ${text} ${fault}.`)
  }
  if (utf8(path.join('/')).length > limits.pathBytes) {
    throw new Problem(code, `The path ${text}… is longer than ${limits.pathBytes} bytes.`)
  }
}

/** Equal for names that some file system takes for the same: NFC and Unicode's simple case folding. */
export function foldName(name: string): string {
  if (ASCII.test(name)) return name.toLowerCase()
  return Array.from(name.normalize('NFC'), foldCharacter).join('').normalize('NFC')
}

/** Through the upper case, so that both small sigmas are one; a letter that grows (ß to SS) is left alone. */
function foldCharacter(character: string): string {
  const upper = character.toUpperCase()
  return (upper.length === character.length ? upper : character).toLowerCase()
}

/** @throws Problem of the given code for a path that `checkPath` refuses, or two that collide */
export function checkPaths(paths: readonly FilePath[], code: ProblemCode): void {
  for (const path of paths) checkPath(path, code)
  const [one, other] = findCollision(paths) ?? []
  if (one === undefined) return
  throw new Problem(code, `${JSON.stringify(one)} and ${JSON.stringify(other)} are one file on some systems.`)
}

/** A file, or a folder with what is in it by its folded names. */
interface Place {
  readonly name: string
  readonly inside: Map<string, Place> | undefined
}

/**
 * The first two of the paths that would be the same file, or a file and a folder, or two spellings of one folder, on some
 * file system. A folder's name ends with a slash. Takes time in proportion to the paths, whoever made them.
 */
function findCollision(paths: readonly FilePath[]): readonly [string, string] | undefined {
  const folded = new Map<string, string>()
  const fold = (name: string): string => folded.get(name) ?? folded.set(name, foldName(name)).get(name) ?? name
  const root = new Map<string, Place>()
  for (const path of paths) {
    let places = root
    for (const [depth, name] of path.entries()) {
      const isFolder = depth < path.length - 1
      const other = places.get(fold(name))
      if (other && !(isFolder && other.inside && other.name === name)) {
        const above = path.slice(0, depth)
        return [[...above, other.name].join('/') + (other.inside ? '/' : ''), [...above, name].join('/')]
      }
      const inside = other?.inside ?? (isFolder ? new Map<string, Place>() : undefined)
      if (!other) places.set(fold(name), { name, inside })
      if (inside) places = inside
    }
  }
  return undefined
}

/** The order of files in a torrent (BEP 52): bytewise by the UTF-8 of one name after the other. */
export function comparePaths(a: FilePath, b: FilePath): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareNames(a[i] as string, b[i] as string)
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** By code point, which is the order of the UTF-8; only surrogates make it differ from that of the code units. */
function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  let i = 0
  while (i < shared && a[i] === b[i]) i++
  if (i === shared) return a.length - b.length
  return Math.sign(rank(a.charCodeAt(i)) - rank(b.charCodeAt(i)))
}

/** Surrogates stand for code points above U+FFFF. */
const rank = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit)
