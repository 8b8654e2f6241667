import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const ROOT = new URL('../../', import.meta.url)

/** A process of its own: what it loads is what it needs. @returns vendors' packages that were loaded */
async function loadedBy(work: string): Promise<string[]> {
  const script = `
    import { registerHooks } from 'node:module'
    const loaded = new Set()
    registerHooks({ resolve(specifier, context, next) {
      const found = next(specifier, context)
      const [, name] = /\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(found.url) ?? []
      if (name) loaded.add(name)
      return found
    } })
    ${work}
    console.log(JSON.stringify([...loaded]))`
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: ROOT })
  return JSON.parse(stdout) as string[]
}

const VENDORS = ['googleapis', 'googleapis-common', 'gaxios', 'google-auth-library', 'dropbox', '@aws-sdk/client-s3']
const open = (kind: string, settings: object): string => `
  const { openStorage } = await import('./agent/storage/open.ts')
  const secret = async () => undefined
  const context = { environment: {}, store: {}, hosts: {}, secret, renewSecret: secret, secrets: {} }
  await openStorage(${JSON.stringify(kind)}, ${JSON.stringify(settings)}, context)`

test('an agent that has no drive of a provider loads nothing of that provider', async () => {
  const agent = await loadedBy(`await import('./agent/open.ts')`)
  expect(agent).toContain('hono')
  expect(agent.filter((name) => VENDORS.includes(name))).toEqual([])
  const folder = await loadedBy(open('folder', { path: '/tmp' }))
  expect(folder.filter((name) => VENDORS.includes(name))).toEqual([])
})

test('a driver loads its own SDK alone', async () => {
  const drive = await loadedBy(open('drive', { clientId: 'x' }))
  expect(drive).toContain('googleapis')
  expect(drive).not.toContain('dropbox')
  const dropbox = await loadedBy(open('dropbox', { appKey: 'x' }))
  expect(dropbox).toContain('dropbox')
  expect(dropbox.filter((name) => name.startsWith('google') || name.startsWith('@aws'))).toEqual([])
})
