import { expect, test } from 'vitest'
import { openLedger } from './kit.ts'

interface Operation {
  readonly summary?: string
  readonly responses: Readonly<Record<string, unknown>>
}

test('the description names every endpoint, what it answers and its problems', async () => {
  const ledger = openLedger()
  const { body } = await ledger.get('/openapi.json')
  expect(body['openapi']).toBe('3.1.0')
  const paths = body['paths'] as Record<string, Record<string, Operation>>
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  const served = ledger.app.routes.filter(({ method, path }) => method !== 'ALL' && path !== '/openapi.json')
  const names = new Set(served.map(({ method, path }) => `${method} ${path.replace('/tile/*', '/tile/:level/:index')}`))
  expect(described.toSorted()).toEqual([...names].toSorted())
  for (const [path, methods] of Object.entries(paths)) {
    for (const operation of Object.values(methods)) {
      expect(operation).toMatchObject({ summary: expect.any(String) })
      if (path !== '/healthz') expect(operation.responses).toHaveProperty('default')
    }
  }
})

test('says that it is healthy, and who it is', async () => {
  const ledger = openLedger()
  expect((await ledger.get('/healthz')).body).toEqual({ ok: true })
  expect((await ledger.get('/v1/ledger')).body).toEqual({
    id: expect.stringMatching(/^[0-9a-f]{64}$/),
    origin: 'test.example/ledger',
    key: expect.stringMatching(/^[0-9a-f]{64}$/),
    vkey: expect.stringMatching(/^test\.example\/ledger\+[0-9a-f]{8}\+/),
    network: expect.stringMatching(/^payword:[0-9a-f]{32}$/),
    unitPrice: '1',
    federation: { keys: [expect.stringMatching(/^[0-9a-f]{64}$/)], majority: 1 },
    faucet: '1000000',
    mergeDelayMs: 10_000,
    witnesses: [],
  })
})
