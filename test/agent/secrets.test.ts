import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createSecrets } from '../../agent/storage/secrets.ts'
import { random } from './linked-folder.ts'

const secrets = createSecrets(new Uint8Array(32).fill(7), random)
const denied = { code: 'storage-denied', members: { fatal: 'auth' } }

test('opens what was sealed, for the same link and by the same agent alone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string(), fc.string(), async (name, text) => {
      const sealed = await secrets.seal(name, text)
      expect(await secrets.open(name, sealed)).toBe(text)
      await expect(secrets.open(`${name}x`, sealed)).rejects.toMatchObject(denied)
      const other = createSecrets(new Uint8Array(32).fill(8), random)
      await expect(other.open(name, sealed)).rejects.toMatchObject(denied)
    }),
  )
})

test('seals the same text otherwise each time, and shows nothing of it', async () => {
  const sealed = await Promise.all([secrets.seal('drive', 'a token'), secrets.seal('drive', 'a token')])
  expect(new Set(sealed).size).toBe(2)
  for (const one of sealed) expect(Buffer.from(one, 'base64url').includes('token')).toBe(false)
})

test('refuses whatever was not sealed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.base64String(), fc.constant('')), async (text) => {
      await expect(secrets.open('drive', text)).rejects.toMatchObject(denied)
    }),
  )
})
