/**
 * The owner's home (`RAINCHECK_HOME`): their key, their identity operations, and which agent, ledger and repository they
 * use. The key is hex in `key` (mode 0600), or age-encrypted under a passphrase in `key.age`.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Decrypter, Encrypter } from 'age-encryption'
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
  /** Makes a key and an identity; the same again when there is one already. */
  init(environment: Environment, passphrase?: string): Promise<Owner>
  /** @throws Problem `not-found` before `init` */
  owner(): Promise<Owner>
  /** @throws Problem `forbidden` when the key is encrypted and the passphrase is missing or wrong */
  signer(passphrase?: string): Promise<Signer>
  settings(): Promise<Settings>
  saveSettings(settings: Settings): Promise<void>
}

export function openHome(dir: string): Home {
  const path = (name: string) => join(dir, name)

  async function save(name: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await writeFile(path(`${name}.tmp`), content, { mode: 0o600, flush: true })
    await rename(path(`${name}.tmp`), path(name))
  }

  async function owner(): Promise<Owner> {
    const saved = await readOptional(path('identity.json'))
    if (!saved) throw new Problem('not-found', `No identity in ${dir}: run \`raincheck init\` first.`)
    const operations = (JSON.parse(fromUtf8(saved)) as { operations: unknown[] }).operations.map((operation) =>
      envelopeFromJson(operation),
    )
    const first = operations[0]
    if (!first) throw new Problem('not-found', `${path('identity.json')} holds no identity.`)
    return { id: objectId('identity', first.body), operations }
  }

  async function secret(passphrase?: string): Promise<Bytes | undefined> {
    const plain = await readOptional(path('key'))
    if (plain) return fromHex(fromUtf8(plain).trim(), 32)
    const encrypted = await readOptional(path('key.age'))
    return encrypted && fromHex(fromUtf8(await decrypt(encrypted, passphrase)), 32)
  }

  return {
    owner,
    async init(environment, passphrase) {
      const known = await secret(passphrase)
      const key = known ?? environment.random.bytes(32)
      if (!known)
        await (passphrase ? save('key.age', await encrypt(toHex(key), passphrase)) : save('key', `${toHex(key)}\n`))
      if (!(await readOptional(path('identity.json')))) {
        const operation = genesis([signerFrom(key)], environment.clock.now())
        await save('identity.json', JSON.stringify({ operations: [envelopeToJson(operation)] }, null, 2))
      }
      return owner()
    },
    async signer(passphrase) {
      const key = await secret(passphrase)
      if (!key) throw new Problem('not-found', `No key in ${dir}: run \`raincheck init\` first.`)
      return signerFrom(key)
    },
    async settings() {
      const saved = await readOptional(path('settings.json'))
      return saved ? (JSON.parse(fromUtf8(saved)) as Settings) : {}
    },
    saveSettings: (settings) => save('settings.json', `${JSON.stringify(settings, null, 2)}\n`),
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

async function encrypt(text: string, passphrase: string): Promise<Uint8Array> {
  const encrypter = new Encrypter()
  encrypter.setPassphrase(passphrase)
  return encrypter.encrypt(text)
}

async function decrypt(encrypted: Uint8Array, passphrase?: string): Promise<Uint8Array> {
  if (!passphrase) throw new Problem('forbidden', 'The key is encrypted: give --passphrase-file.')
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  return decrypter.decrypt(encrypted).catch(() => {
    throw new Problem('forbidden', 'The passphrase does not open the key.')
  })
}
