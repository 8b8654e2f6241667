/** Links lead somewhere, and commands are there to be run. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from '../../agent/cli/cli.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { handClock } from '../agent/hand-clock.ts'
import { anchorsOf, linksIn, readPage, readPages, ROOT, type Page } from './page.ts'

const pages = readPages()
const anchors = new Map(pages.map((page) => [page.path, anchorsOf(page)]))

test('every link leads to a file of the project, and its anchor to a heading there', () => {
  const broken = pages.flatMap((page) =>
    linksIn(page)
      .filter(isBroken)
      .map(({ target }) => `${page.path}: ${target}`),
  )
  expect(broken).toEqual([])
})

function isBroken({ path, anchor }: ReturnType<typeof linksIn>[number]): boolean {
  if (path === undefined) return false
  const known = anchors.get(path)
  if (!known) return anchor !== undefined || !existsSync(join(ROOT, path))
  return anchor !== undefined && !known.has(anchor)
}

test('every page of the docs is reached from the README', () => {
  const reached = new Set(['README.md'])
  for (const path of reached) {
    const page = pages.find((one) => one.path === path)
    const targets = page ? linksIn(page).map((link) => link.path ?? '') : []
    for (const target of targets) for (const found of inside(target)) reached.add(found)
  }
  expect(pages.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([])
})

test('PROTOCOL.md lists every file of vectors', () => {
  const listed = linksIn(readPage('docs/PROTOCOL.md')).map(({ path }) => path)
  const files = readdirSync(join(ROOT, 'test/vectors')).map((file) => `test/vectors/${file}`)
  expect(files.filter((file) => !listed.includes(file))).toEqual([])
})

/** A link to a folder leads to all that is in it. */
const inside = (target: string): string[] =>
  pages.map(({ path }) => path).filter((path) => path === target || path.startsWith(`${target}/`))

/** The lines of blocks of commands, and what stands in `code`. */
function commandsIn({ text }: Page): string[] {
  const blocks = Array.from(text.matchAll(/^ *```(?:sh)?\n([\s\S]*?)^ *```$/gm), ([, block = '']) =>
    block.split('\n'),
  ).flat()
  const spans = Array.from(
    text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, '').matchAll(/`([^`\n]+)`/g),
    ([, span = '']) => span,
  )
  return [...blocks.map((line) => line.replace(/(^| )#.*/, '')), ...spans]
}

const commands = pages.flatMap((page) => commandsIn(page).map((line) => ({ line, path: page.path })))

function findAll(pattern: RegExp): { readonly found: readonly string[]; readonly path: string }[] {
  return commands.flatMap(({ line, path }) =>
    Array.from(line.matchAll(pattern), (match) => ({ found: [...match], path })),
  )
}

test('every `npm run` names a script', () => {
  const named = findAll(/\bnpm (?:run )?([a-z:|]+)/g)
  const unknown = named
    .flatMap(({ found: [, names = ''], path }) => names.split('|').map((name) => ({ name, path })))
    .filter(({ name }) => !['ci', 'install', 'run'].includes(name) && !Object.hasOwn(packageJson.scripts, name))
  expect(unknown).toEqual([])
  expect(named.length).toBeGreaterThan(5)
})

test('every `npx` runs a tool that is installed', () => {
  const tools = findAll(/\bnpx ([a-z]+)/g).filter(({ found: [, tool = ''] }) => tool !== 'raincheck')
  expect(tools.filter(({ found: [, tool = ''] }) => !existsSync(join(ROOT, 'node_modules/.bin', tool)))).toEqual([])
})

interface Usage {
  readonly command: string
  readonly usage: string
}

async function usages(): Promise<ReadonlyMap<string, string>> {
  let out = ''
  await run(['help', '--json'], {
    environment: {
      clock: handClock(),
      random: { bytes: (n) => new Uint8Array(n) },
      transport: () => Promise.reject(new Error()),
    },
    homeDir: '/nowhere',
    workingDir: '/nowhere',
    signal: new AbortController().signal,
    isTerminal: false,
    monotonicMs: () => 0,
    out: (text) => (out += text),
    err: () => undefined,
  })
  return new Map((JSON.parse(out) as Usage[]).map(({ command, usage }) => [command, usage]))
}

test('every `raincheck` command is one, and takes the options that it is shown with', async () => {
  const known = await usages()
  const shown = findAll(/(?:npx |^)raincheck ((?:ledger )?[a-z]+)([^|)&;"]*)/g)
  expect(shown.length).toBeGreaterThan(10)
  for (const {
    found: [line = '', command = '', rest = ''],
    path,
  } of shown) {
    if (command === 'help') continue
    expect(known.has(command), `${path}: ${line}`).toBe(true)
    const options = Array.from(rest.matchAll(/--([a-z-]+)/g), ([option]) => option).filter(
      (option) => option !== '--json',
    )
    expect(
      options.filter((option) => !known.get(command)?.includes(option)),
      `${path}: ${line}`,
    ).toEqual([])
  }
})
