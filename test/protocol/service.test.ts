import { describe, expect, it } from 'vitest'
import { limits } from '../../protocol/limits.ts'
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
