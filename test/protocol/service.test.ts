import { createRoute, z } from '@hono/zod-openapi'
import { describe, expect, it } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { decimal, jsonBody, ok } from '../../protocol/route.ts'
import { createService } from '../../protocol/service.ts'

const LARGE = 4 * limits.jsonBytes
const app = createService({ title: 'T', description: '', largerBodies: [{ path: /^\/large$/, bytes: LARGE }] })
app.post('/large', async (c) => c.json((await c.req.arrayBuffer()).byteLength))

const post = (bytes: number, headers: Record<string, string>) =>
  app.request('/large', { method: 'POST', body: new Uint8Array(bytes), headers })

describe('a body that may be large', () => {
  it('is taken up to its limit where its length is said', async () => {
    const said = (bytes: number) => post(bytes, { 'content-length': String(bytes) })
    expect(await (await said(LARGE)).json()).toBe(LARGE)
    expect((await said(LARGE + 1)).status).toBe(413)
  })

  it('is held before anybody asks who sends it, where its length is not said: it may be no larger than any other', async () => {
    const chunked = (bytes: number) => post(bytes, { 'transfer-encoding': 'chunked' })
    expect(await (await chunked(limits.jsonBytes)).json()).toBe(limits.jsonBytes)
    const refused = await chunked(limits.jsonBytes + 1)
    expect([refused.status, await refused.json()]).toMatchObject([413, { code: 'too-large' }])
  })
})

describe('a request that is malformed', () => {
  const query = z.strictObject({ after: decimal.optional() })
  const body = jsonBody(z.strictObject({ price: z.strictObject({ amount: z.string() }) }))
  const route = createRoute({
    method: 'post',
    path: '/asked',
    request: { query, body },
    responses: ok('', z.object({})),
  })
  app.openapi(route, (c) => c.json({}, 200))
  const ask = async (json: unknown, search = '') => {
    const init = { method: 'POST', body: JSON.stringify(json), headers: { 'content-type': 'application/json' } }
    return (await app.request(`/asked${search}`, init)).json()
  }

  it.each([
    ['a member', { price: { amount: 1 } }, '', 'price.amount'],
    ['a parameter', { price: { amount: '1' } }, '?after=x', 'after'],
  ])('is told which %s is to blame', async (_, json, search, field) => {
    expect(await ask(json, search)).toMatchObject({ code: 'bad-request', field })
  })

  it.each([
    ['a member', { price: { amount: '1' }, more: 1 }, '', /^body: .*"more"/],
    ['a parameter', { price: { amount: '1' } }, '?more=1', /^query: .*"more"/],
  ])('is told where %s is unknown', async (_, json, search, detail) => {
    const answer = await ask(json, search)
    expect(answer).toMatchObject({ code: 'bad-request', detail: expect.stringMatching(detail) })
    expect(answer).not.toHaveProperty('field')
  })
})
