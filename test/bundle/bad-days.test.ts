import { SSMClient } from '@aws-sdk/client-ssm'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOwnerClient } from '../../agent/cli/owner-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { bundle } from '../../infra/aws/bundle.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openParameterKey } from '../../infra/lambda/parameter-key.ts'
import { limits } from '../../protocol/limits.ts'
import { sealedBytes } from '../../protocol/sealed.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { ACCOUNT, CREDENTIALS, openAccount, REGION, type Account } from './account.ts'
import { STEADY } from './cloud.ts'
import { hostFunction, MOST_ANSWER_BYTES, MOST_EVENT_BYTES, type FunctionHost } from './function-host.ts'

const TABLE = {
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
  AttributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' },
    { AttributeName: 'sk', AttributeType: 'S' },
  ],
}
const AGENT = {
  AGENT_STORE: 'dynamodb:agent',
  AGENT_KEY_PARAMETER: '/agent/key',
  LEDGER_URL: 'http://127.0.0.1:1',
  REPOSITORY_URL: 'http://127.0.0.1:1',
}
const MIB = 1024 * 1024

let code: string
let account: Account
let hosts: FunctionHost[] = []

beforeAll(async () => {
  code = await bundle('agent', await mkdtemp(join(tmpdir(), 'raincheck-bad-days-')))
  account = await openAccount([], { fate: STEADY })
  await account.tables.make('agent', TABLE)
  const endpoint = account.variables['AWS_ENDPOINT_URL_SSM'] ?? ''
  const parameters = new SSMClient({ endpoint, region: REGION, credentials: CREDENTIALS })
  await openParameterKey(AGENT.AGENT_KEY_PARAMETER, realEnvironment().random, parameters)
}, 60_000)
afterAll(async () => {
  for (const host of hosts) await host.close()
  await account.close()
})

/** @returns the URL of an agent whose function has these variables besides */
async function deploy(variables: Readonly<Record<string, string>>): Promise<string> {
  const environment = { ...account.variables, ...AGENT, ...variables }
  const started = { name: 'agent', code, handler: 'index.main', environment, bounds: () => ({ timeoutMs: 60_000 }) }
  const host = hostFunction({ ...started, fate: STEADY, say: account.say })
  hosts = [...hosts, host]
  return host.listen()
}

async function ask(
  url: string,
  body?: Uint8Array<ArrayBuffer>,
): Promise<readonly [number, string | undefined, string]> {
  const answer = await (body ? fetch(`${url}/v1/claim`, { method: 'POST', body }) : fetch(`${url}/v1/balance`))
  const text = await answer.text()
  const { code: said } = (text.startsWith('{') ? JSON.parse(text) : {}) as { code?: string }
  return [answer.status, said, text]
}

/** A DynamoDB that answers all with one refusal. */
async function startRefusing(type: string, message: string): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' })
    response.end(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => void server.close() }
}

/** The role may not use the table; the table is in another region. */
const REFUSALS = [
  ['AccessDeniedException', `User: arn:aws:sts::${ACCOUNT}:assumed-role/agent is not authorized to perform this`],
  ['ResourceNotFoundException', 'Requested resource not found'],
] as const

describe('a deployed agent', () => {
  it.each(REFUSALS)('cannot answer where DynamoDB says %s: why is for the log alone', async (type, message) => {
    const refusing = await startRefusing(type, message)
    const [status, problem, text] = await ask(await deploy({ AWS_ENDPOINT_URL_DYNAMODB: refusing.url }))
    refusing.close()
    expect([status, problem]).toEqual([503, 'store-unavailable'])
    expect(text).not.toContain(ACCOUNT)
    expect(account.log.some((line) => line.includes(message))).toBe(true)
  })

  it('names in its log the setting that is missing, and nothing to a caller', async () => {
    const [status, problem, text] = await ask(await deploy({ LEDGER_URL: '' }))
    expect([status, problem]).toEqual([500, 'internal'])
    expect(text).not.toContain('LEDGER_URL')
    expect(account.log.some((line) => line.includes('set LEDGER_URL'))).toBe(true)
  })

  it('never has to say more than a function may stream', () => {
    const longest = { length: limits.pieceBytesMax }
    expect(Math.max(sealedBytes(longest), limits.torrentBytes, limits.bookBytes)).toBeLessThan(MOST_ANSWER_BYTES)
  })

  it('takes bodies of any size and kind for what they are', async () => {
    const url = await deploy({})
    expect(await ask(url)).toMatchObject([409, 'unclaimed', expect.any(String)])
    expect((await ask(url, new Uint8Array(200 * MIB)))[0]).toBe(413)
    // Bytes are base64 in an event: a third longer.
    for (const bytes of [MOST_EVENT_BYTES, 5 * MIB])
      expect((await ask(url, new Uint8Array(bytes))).slice(0, 2)).toEqual([413, undefined])
    expect(await ask(url, new Uint8Array(4 * MIB))).toEqual([
      413,
      'too-large',
      expect.stringContaining(`/v1/claim takes bodies of ${limits.jsonBytes} bytes at most.`),
    ])
    expect((await ask(url, new Uint8Array([0, 255, 128, 10]))).slice(0, 2)).toEqual([400, 'bad-request'])
    expect(await ask(url)).toMatchObject([409, 'unclaimed', expect.any(String)])
  })

  it('is too small for what Lambda does not let in, and who sent it is told so', async () => {
    const url = await deploy({})
    const environment = realEnvironment()
    const uploaded = createRepositoryClient({ environment, url }).putTorrent('0'.repeat(64), new Uint8Array(5 * MIB))
    await expect(uploaded).rejects.toMatchObject({
      code: 'too-large',
      message: `${url} takes no request of ${5 * MIB} bytes.`,
    })
    const signer = signerFrom(new Uint8Array(32).fill(1))
    const owner = createOwnerClient({ environment, url, owner: signer.key, signer })
    const asked = owner.ask('POST', '/v1/downloads', { torrent: 'A'.repeat(7 * MIB) })
    await expect(asked).rejects.toMatchObject({ code: 'too-large', message: expect.stringContaining('4.5 MB') })
  })
})
