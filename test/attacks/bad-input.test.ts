/** Every endpoint of every service, asked for what it cannot take: a problem with a stable code, never a fault of ours, and nothing changed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { createLinks } from '../../agent/storage/links.ts'
import { toBase64url, utf8 } from '../../protocol/bytes.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { isProblemCode, PROBLEMS } from '../../protocol/problem.ts'
import type { HandClock } from '../agent/hand-clock.ts'
import type { Answer } from './answer.ts'
import { buy, declared } from './hand.ts'
import { hostileTo, pathOf, type Hostile } from './hostile.ts'
import { operationsOf, type Document, type Operation } from './openapi.ts'
import { filmOf, moveIn, PRICE, type Resident, type ShareJson } from './resident.ts'
import { openWorld, type World } from './world.ts'

let world: World<HandClock>
let anna: Resident
let folder: string

/** A world with something in it that could change: a share, a declaration, an open lane. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raincheck-bad-input-'))
  await writeFile(join(folder, 'film.bin'), filmOf(8))
  world = await openWorld()
  anna = await moveIn(world, 'anna', { links: createLinks })
  await anna.owner.ask('POST', '/v1/links', { kind: 'folder', path: folder })
  const share = await anna.owner.ask<ShareJson>('POST', '/v1/shares', { path: 'film.bin', price: String(PRICE) })
  const payer = await world.person('payer')
  const lane = (await declared(world, payer, share)).laneTo(anna.person)
  await buy(anna, share, lane, 2)
  await anna.owner.ask('POST', '/v1/redemptions', {})
  await world.ledger.sequence()
})
afterAll(async () => {
  await anna.service.stop()
  await rm(folder, { recursive: true, force: true })
})

const SERVICES = ['ledger', 'repository', 'agent'] as const
const OWNED =
  /^\/v1\/(shares|downloads|copies|links|authorizations|balance|redemptions|trust|notices|breaches|proofs|usage|statements|guard|follows|alerts|circles|brokers|search)/

const urlOf = (service: (typeof SERVICES)[number]): string => (service === 'agent' ? anna.url : world[service].url)

let signatures = 0

async function send(
  base: string,
  operation: Pick<Operation, 'method'>,
  hostile: Hostile,
  isOwner: boolean,
): Promise<Answer> {
  const { path, body, type, headers = {} } = hostile
  const request = new Request(base + path, {
    method: operation.method,
    headers: { ...headers, ...(type !== undefined && { 'content-type': type }) },
    ...(body !== undefined && { body }),
  })
  return isOwner ? sendSigned(request, body) : world.ask(request.url, request)
}

/** As the owner would, for what only an owner may ask. */
async function sendSigned(request: Request, body: Hostile['body']): Promise<Answer> {
  const signed = await signRequest(request, {
    signer: anna.person.signer,
    audience: anna.person.hex,
    nowMs: world.clock.now(),
    nonce: toBase64url(sha256(utf8(`nonce ${signatures++}`))),
  })
  return world.ask(signed.url, {
    method: signed.method,
    headers: signed.headers,
    ...(body !== undefined && { body }),
  })
}

/** What is wrong with an answer; undefined when it is as it should be. */
function faultOf({ status, code, headers, json }: Answer, mayPass: boolean): string | undefined {
  if (status >= 500) return `status ${status}`
  if (status < 300) return mayPass ? undefined : `status ${status}`
  if (headers.get('content-type') !== 'application/problem+json') return `type ${headers.get('content-type')}`
  if (!isProblemCode(code)) return `code ${code}`
  return PROBLEMS[code][0] === status && json['status'] === status ? undefined : `status ${status} for ${code}`
}

async function faultsOf(base: string, operation: Operation, requests: readonly Hostile[]): Promise<readonly string[]> {
  const faults: string[] = []
  const isOwner = base === anna.url && OWNED.test(operation.template)
  for (const hostile of requests) {
    const answer = await send(base, operation, hostile, isOwner)
    const fault = faultOf(answer, hostile.mayPass ?? false)
    if (fault) faults.push(`${operation.name}, ${hostile.what}: ${fault}`)
  }
  return faults
}

const partition = <T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] => [
  all.filter(isFirst),
  all.filter((one) => !isFirst(one)),
]

async function documentOf(base: string): Promise<Document> {
  return (await world.ask(`${base}/openapi.json`)).json as unknown as Document
}

describe.each(SERVICES)('the %s', (service) => {
  test('refuses what is malformed, and changes nothing', async () => {
    const base = urlOf(service)
    const document = await documentOf(base)
    const operations = operationsOf(document)
    expect(operations.length).toBeGreaterThan(10)
    for (const operation of operations) {
      const [harmless, orders] = partition([...hostileTo(operation, document)], ({ mayPass }) => {
        return operation.method === 'GET' || !mayPass
      })
      const before = await world.state()
      expect(await faultsOf(base, operation, harmless)).toEqual([])
      expect(await world.state()).toEqual(before)
      // What could be meant may be done.
      expect(await faultsOf(base, operation, orders)).toEqual([])
    }
    expect(world.faults).toEqual([])
  })

  test('refuses methods that it does not know, and says which it does', async () => {
    const base = urlOf(service)
    const document = await documentOf(base)
    const operations = operationsOf(document)
    const before = await world.state()
    for (const operation of operations.filter(({ template }) => base !== anna.url || !OWNED.test(template))) {
      const known = operations.filter(({ template }) => template === operation.template).map(({ method }) => method)
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
        if (known.includes(method)) continue
        const { code, headers } = await send(
          base,
          { method },
          { what: method, path: pathOf(operation, document) },
          false,
        )
        expect({ name: `${method} ${operation.template}`, code }).toMatchObject({ code: 'method-not-allowed' })
        for (const each of known) expect(headers.get('allow')).toContain(each)
      }
    }
    expect(await world.state()).toEqual(before)
  })

  test('has nothing at other paths', async () => {
    const before = await world.state()
    for (const path of [
      '/',
      '/v1',
      '/v2/shares',
      '/.env',
      '/v1/../../etc/passwd',
      '/%2e%2e/%2e%2e',
      '/v1/constructor',
      '//evil.example/',
      '/\\',
    ]) {
      expect(await world.ask(urlOf(service) + path)).toMatchObject({ code: 'not-found', status: 404 })
    }
    expect(await world.state()).toEqual(before)
  })
})

test('the agent asks for its owner’s signature before it looks at anything else', async () => {
  const document = await documentOf(anna.url)
  const before = await world.state()
  for (const operation of operationsOf(document).filter(({ template }) => OWNED.test(template))) {
    for (const hostile of hostileTo(operation, document)) {
      const { code, status } = await send(anna.url, operation, hostile, false)
      const isHidden = ['bad-signature', 'not-found', 'too-large'].includes(code)
      if (!isHidden) expect.fail(`${operation.name}, ${hostile.what}: ${status} ${code}`)
    }
  }
  expect(await world.state()).toEqual(before)
})
