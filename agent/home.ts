/**
 * The owner's home (`RAINCHECK_HOME`): their key, their identity operations, and which agent, ledger and repository they
 * use. The key is hex in `key` (mode 0600), or age-encrypted under a passphrase in `key.age`.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, fromUtf8, toHex, type Bytes } from '../protocol/bytes.ts'
import type { Environment } from '../protocol/environment.ts'
import { genesis } from '../protocol/identity.ts'
import { Problem } from '../protocol/problem.ts'
import {
  envelopeFromJson,
  envelopeToJson,
  objectId,
  signerFrom,
  type Envelope,
  type Signer,
} from '../protocol/signed.ts'
import { makeFolder } from './make-folder.ts'

export interface Settings {
  /** URLs without a trailing slash. */
  readonly agent?: string
  readonly ledger?: string
  readonly repository?: string
}

export interface Owner {
  readonly id: Bytes
  readonly operations: readonly Envelope[]
}

export interface Home {
  /**
   * Makes a key and an identity; the same again when there is one already.
   * @throws Problem `conflict` when a passphrase is given for a key that has none
   */
  init(environment: Environment, passphrase?: string): Promise<Owner>
  /** @throws Problem `not-found` before `init` */
  owner(): Promise<Owner>
  /** @throws Problem `not-found` before `init`, `forbidden` when the key is encrypted and the passphrase is missing or wrong */
  signer(passphrase?: string): Promise<Signer>
  settings(): Promise<Settings>
  saveSettings(settings: Settings): Promise<void>
}

export function openHome(dir: string): Home {
  const path = (name: string) => join(dir, name)

  async function save(name: string, content: string | Uint8Array): Promise<void> {
    await makeFolder(dir, 0o700)
    await writeFile(path(`${name}.tmp`), content, { mode: 0o600, flush: true })
    await rename(path(`${name}.tmp`), path(name))
  }

  async function owner(): Promise<Owner> {
    const saved = await readJson<{ operations?: readonly unknown[] }>('identity.json')
    if (!saved) throw new Problem('not-found', `No identity in ${dir}: run \`raincheck init\` first.`)
    const operations = (saved.operations ?? []).map((operation) => envelopeFromJson(operation))
    const first = operations[0]
    if (!first) throw new Problem('not-found', `${path('identity.json')} holds no identity.`)
    return { id: objectId('identity', first.body), operations }
  }

  async function readJson<T>(name: string): Promise<T | undefined> {
    const saved = await readOptional(path(name))
    try {
      return saved && (JSON.parse(fromUtf8(saved)) as T)
    } catch {
      throw new Problem('bad-encoding', `${path(name)} is not JSON: mend it, or take it away.`)
    }
  }

  async function secret(passphrase?: string): Promise<Bytes | undefined> {
    const plain = await readOptional(path('key'))
    if (plain) return keyFrom(plain, path('key'))
    const encrypted = await readOptional(path('key.age'))
    return encrypted && keyFrom(await decrypt(encrypted, passphrase), path('key.age'))
  }

  async function makeKey({ random }: Environment, passphrase?: string): Promise<Bytes> {
    const key = random.bytes(32)
    if (passphrase === undefined) await save('key', `${toHex(key)}\n`)
    else await save('key.age', await encrypt(toHex(key), passphrase))
    return key
  }

  return {
    owner,
    async init(environment, passphrase) {
      if (passphrase !== undefined && (await readOptional(path('key'))))
        throw new Problem('conflict', `The key in ${path('key')} is there already, without a passphrase.`)
      if (!(await readOptional(path('identity.json')))) {
        const key = (await secret(passphrase)) ?? (await makeKey(environment, passphrase))
        const operation = genesis([signerFrom(key)], environment.clock.now())
        await save('identity.json', JSON.stringify({ operations: [envelopeToJson(operation)] }, null, 2))
      }
      return owner()
    },
    async signer(passphrase) {
      const key = await secret(passphrase)
      if (!key) throw new Problem('not-found', `No key in ${dir}: run \`raincheck init\`, or bring it back.`)
      return signerFrom(key)
    },
    settings: async () => (await readJson<Settings>('settings.json')) ?? {},
    saveSettings: (settings) => save('settings.json', `${JSON.stringify(settings, null, 2)}\n`),
  }
}

/**
 * The first line of a passphrase's file.
 * @throws Problem `not-found`, or `bad-request` when there is nothing in it
 */
export async function readPassphrase(path: string): Promise<string> {
  const content = await readOptional(path)
  if (!content) throw new Problem('not-found', `There is no file ${path} with the passphrase.`)
  const [line] = fromUtf8(content).split(/\r?\n/, 1)
  if (!line) throw new Problem('bad-request', `There is no passphrase in ${path}.`)
  return line
}

function keyFrom(saved: Uint8Array, path: string): Bytes {
  try {
    return fromHex(fromUtf8(saved).trim(), 32)
  } catch {
    throw new Problem('bad-encoding', `${path} does not hold a key: 64 hex digits.`)
  }
}

async function readOptional(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Loaded when it is needed: that takes longer than most commands. */
const age = () => import('age-encryption')

async function encrypt(text: string, passphrase: string): Promise<Uint8Array> {
  const { Encrypter } = await age()
  const encrypter = new Encrypter()
  encrypter.setPassphrase(passphrase)
  return encrypter.encrypt(text)
}

async function decrypt(encrypted: Uint8Array, passphrase?: string): Promise<Uint8Array> {
  if (passphrase === undefined) throw new Problem('forbidden', 'The key is encrypted: name its passphrase’s file.')
  const { Decrypter } = await age()
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  return decrypter.decrypt(encrypted).catch(() => {
    throw new Problem('forbidden', 'The passphrase does not open the key.')
  })
}
