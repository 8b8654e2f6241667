/** A service's own 32-byte key in a file, as hex, made at its first start. */
import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolder } from '../agent/make-folder.ts'
import { fromHex, toHex, type Bytes } from '../protocol/bytes.ts'
import type { Random } from '../protocol/environment.ts'
import { SettingError } from './service-process.ts'

/** @throws SettingError when the file holds something else */
export async function openServiceKey(path: string, random: Random): Promise<Bytes> {
  const text = (await readFile(path, 'utf8').catch(() => makeKey(path, random))).trim()
  if (!/^[0-9a-f]{64}$/.test(text)) throw new SettingError(`${path} must hold 64 hex digits`)
  return fromHex(text)
}

/** Written aside and then named, so that the file is never there without its key, whoever is killed or comes first. */
async function makeKey(path: string, random: Random): Promise<string> {
  makeFolder(dirname(path), 0o700)
  const aside = `${path}.${toHex(random.bytes(8))}.tmp`
  await writeFile(aside, `${toHex(random.bytes(32))}\n`, { mode: 0o600, flag: 'wx', flush: true })
  await link(aside, path).catch(unlessThere)
  await rm(aside)
  return readFile(path, 'utf8')
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}
