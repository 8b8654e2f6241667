/** The pages of the docs: what is in them, and what parts of them the code writes. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Example } from './example.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Page {
  /** From the project's folder, with `/`. */
  readonly path: string
  readonly text: string
}

export const readPage = (path: string): Page => ({ path, text: readFileSync(join(ROOT, path), 'utf8') })

/** The README and everything under `docs/`. */
export function readPages(): Page[] {
  const found = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
  const pages = found
    .filter((path) => path.endsWith('.md'))
    .map((path) => posix.join('docs', path.split(sep).join('/')))
  return ['README.md', ...pages.toSorted()].map(readPage)
}

export const readProtocol = (): Page[] =>
  readPages().filter(({ path }) => path === 'docs/PROTOCOL.md' || path.startsWith('docs/protocol/'))

const EXAMPLE = /^```(\w+) example=(\S+)\n([\s\S]*?)^```$/gm
const TABLE = /^<!-- table: (\S+) -->\n[\s\S]*?^<!-- end -->$/gm

export interface PageExample extends Example {
  readonly name: string
  readonly page: string
}

export const examplesIn = ({ path, text }: Page): PageExample[] =>
  Array.from(text.matchAll(EXAMPLE), ([, language = '', name = '', content = '']) => ({
    language: language as Example['language'],
    name,
    page: path,
    text: content.trimEnd(),
  }))

export interface Written {
  readonly examples: ReadonlyMap<string, Example>
  readonly tables: Readonly<Record<string, string>>
}

/** The page with its examples and tables as the code makes them now. Throws for a name that nothing makes. */
export function render({ path, text }: Page, { examples, tables }: Written): string {
  return text
    .replaceAll(EXAMPLE, (_, _language: string, name: string) => {
      const example = examples.get(name)
      if (!example) throw new Error(`${path}: there is no example ${name}`)
      return `\`\`\`${example.language} example=${name}\n${example.text}\n\`\`\``
    })
    .replaceAll(TABLE, (_, name: string) => {
      const table = tables[name]
      if (table === undefined) throw new Error(`${path}: there is no table ${name}`)
      return `<!-- table: ${name} -->\n${table}\n<!-- end -->`
    })
}

/** Text without fenced blocks and without `code`. */
export const proseOf = (text: string): string => text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '')

/** What links from elsewhere may name, as GitHub makes it of headings. */
export function anchorsOf({ text }: Page): Set<string> {
  const seen = new Map<string, number>()
  const headings = text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#{1,6} +(.+?) *$/gm)
  return new Set(
    Array.from(headings, ([, heading = '']) => {
      const slug = slugOf(heading)
      const times = seen.get(slug) ?? 0
      seen.set(slug, times + 1)
      return times === 0 ? slug : `${slug}-${times}`
    }),
  )
}

const slugOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
    .replaceAll(' ', '-')

export interface Link {
  readonly target: string
  /** From the project's folder; undefined outside of it. */
  readonly path: string | undefined
  readonly anchor: string | undefined
}

export const linksIn = (page: Page): Link[] =>
  Array.from(proseOf(page.text).matchAll(/\]\(([^)\s]+)\)/g), ([, target = '']) => linkTo(page, target))

function linkTo({ path }: Page, target: string): Link {
  if (/^[a-z]+:/.test(target)) return { target, path: undefined, anchor: undefined }
  const [file = '', anchor] = target.split('#')
  const place =
    file === ''
      ? path
      : relative('.', join(dirname(path), file))
          .split(sep)
          .join('/')
  return { target, path: place, anchor }
}
