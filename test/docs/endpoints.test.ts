/** What the docs say that services take is what they take: endpoints and variables. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { createUnclaimedApp } from '../../agent/api/unclaimed.ts'
import { createClaims } from '../../agent/claim.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createRepository } from '../../repository/repository.ts'
import { openLedger } from './ledger-story.ts'
import { openAgent } from './market-story.ts'
import { readPage, readPages, ROOT } from './page.ts'
import { createRecorder } from './recorder.ts'
import * as cast from './cast.ts'
import { openWitness } from './witness-story.ts'

const recorder = createRecorder()

/** Nobody asks it anything here. */
function unclaimed(): { readonly app: OpenAPIHono } {
  const { environment } = recorder
  const secret = cast.bytesOf(9)
  const ledger = createLedgerClient({ environment, url: 'https://ledger.example' })
  const repository = createRepositoryClient({ environment, url: 'https://repository.example' })
  const claims = createClaims({ environment, store: openSqlite(':memory:'), secret, ledger, repository })
  const api = { claims, key: signerFrom(secret).key, ledger, repositoryUrl: repository.url, urlOf: () => '' }
  return createUnclaimedApp({ ...api, dashboard: new Map(), onFault: () => undefined })
}

const SERVICES: readonly (readonly [name: string, app: OpenAPIHono, pages: readonly string[]])[] = [
  ['ledger', openLedger(recorder).app, ['ledger-api']],
  [
    'repository',
    createRepository({ environment: recorder.environment, store: openSqlite(':memory:') }).app,
    ['repository-api'],
  ],
  ['witness', openWitness(recorder).app, ['witness-api']],
  ['agent', openAgent(recorder, cast.payee, cast.SELLER_URL).app, ['agent-api', 'owner-api']],
  ['unclaimed agent', unclaimed().app, ['ownership-api']],
]

/** `GET /v1/…`, the parameters as `{}`. */
const endpoint = (method: string, path: string): string =>
  `${method.toUpperCase()} ${path.replaceAll(/\{[^}]*\}/g, '{}')}`

async function served(app: OpenAPIHono): Promise<string[]> {
  const response = await app.request('/openapi.json')
  const { paths } = (await response.json()) as { paths: Record<string, object> }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => endpoint(method, path)),
  )
}

/** Of rows like: | `GET`, `PUT` | `/v1/books/{id}` | … */
function documented(page: string): string[] {
  const rows = readPage(`docs/protocol/${page}.md`).text.matchAll(/^\| (`[A-Z]+`(?:, `[A-Z]+`)*) \| `(\/[^`]*)` \|/gm)
  return Array.from(rows, ([, methods = '', path = '']) =>
    Array.from(methods.matchAll(/[A-Z]+/g), ([method]) => endpoint(method, path)),
  ).flat()
}

describe.each(SERVICES)('the %s', (_, app, pages) => {
  test('has exactly the endpoints that its pages list', async () => {
    const listed = [...new Set(pages.flatMap(documented))].filter((one) => one !== 'GET /openapi.json')
    expect(listed.toSorted()).toEqual((await served(app)).toSorted())
  })

  test('describes itself by OpenAPI 3.1, with a summary or a description of each answer', async () => {
    const document = (await (await app.request('/openapi.json')).json()) as { openapi: string; info: { title: string } }
    expect(document.openapi).toBe('3.1.0')
    expect(document.info.title).toMatch(/^Raincheck /)
  })
})

test('the agent hears nobody who has not signed, at any of its owner’s endpoints', async () => {
  const { app } = openAgent(recorder, cast.payee, cast.SELLER_URL)
  for (const listed of documented('owner-api')) {
    const [method = '', path = ''] = listed.split(' ')
    const { status } = await app.request(path.replaceAll('{}', '0'), { method })
    expect([listed, status]).toEqual([listed, 401])
  }
})

describe('an endpoint that the docs mention', () => {
  let known: string[]
  beforeAll(async () => {
    known = (await Promise.all(SERVICES.map(([, app]) => served(app)))).flat()
  })

  test('is one of a service', () => {
    const mentions = readPages().flatMap(({ path: page, text }) =>
      Array.from(
        withoutProblems(text).matchAll(/\b(GET|POST|PUT|DELETE) (\/[^\s`?|,)]*)/g),
        ([, method = '', path = '']) => ({
          method,
          path,
          page,
        }),
      ),
    )
    const unknown = mentions.filter(
      ({ method, path }) => path !== '/openapi.json' && !known.some((one) => matches(one, method, path)),
    )
    expect(unknown).toEqual([])
    expect(mentions.length).toBeGreaterThan(60)
  })
})

/** Some requests are there to be refused. */
const withoutProblems = (text: string): string => text.replaceAll(/^```http example=problem[\s\S]*?^```$/gm, '')

/** A parameter stands for a name, for `{name}` and for `…`; the index of a tile may have slashes. */
function matches(known: string, method: string, path: string): boolean {
  const [knownMethod = '', knownPath = ''] = known.split(' ')
  const inner = knownPath.startsWith('/tile/') ? '.+' : '[^/]+'
  return knownMethod === method && new RegExp(`^${knownPath.replaceAll('{}', inner)}$`).test(path)
}

const ENTRY_POINTS = [
  'ledger/node.ts',
  'ledger/witness/node.ts',
  'repository/node.ts',
  'agent/node.ts',
  'agent/cli/main.ts',
  'infra/local/main.ts',
  // Handed what an entry point reads.
  'agent/storage/providers.ts',
  'agent/dealing.ts',
  'infra/ledger-settings.ts',
  'agent/guard/usual-caps.ts',
]

test('the variables that entry points read are those that SERVICES.md lists', () => {
  const read = ENTRY_POINTS.flatMap((path) => {
    const text = readFileSync(join(ROOT, path), 'utf8')
    const named = Array.from(
      text.matchAll(/(?:required|optional)\('([A-Z_]+)'|process\.env\['([A-Z_]+)'\]|^  \w+: '(RAINCHECK_[A-Z_]+)',$/gm),
      ([, a, b, c]) => a ?? b ?? c ?? '',
    )
    const taken = Array.from(
      text.matchAll(/\{([^}]*)\} = process\.env/g),
      ([, names = '']) => names.match(/[A-Z_]{2,}/g) ?? [],
    ).flat()
    return [...named, ...taken]
  })
  const rows = readPage('docs/SERVICES.md').text.matchAll(/^\| `([A-Z_]+)` \|/gm)
  const listed = new Set(Array.from(rows, ([, name = '']) => name))
  expect([...listed].toSorted()).toEqual([...new Set(read)].toSorted())
})
