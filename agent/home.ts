/**
 * The owner's home (`RAINCHECK_HOME`): their everyday key, their identity operations, and which agent, ledger and
 * repository they use. The key is in `key` (mode 0600), or age-encrypted under a passphrase in `key.age`. The recovery
 * key that stands above it is in `recovery` or `recovery.age` until its owner takes it away from this machine.
 */
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { equal, fromUtf8, type Bytes } from '../protocol/bytes.ts'
import type { Environment } from '../protocol/environment.ts'
import { genesis, replay } from '../protocol/identity.ts'
import { parseLogPolicy, type LogPolicy } from '../protocol/log-policy.ts'
import { Problem, problemOf } from '../protocol/problem.ts'
import {
  envelopeFromJson,
  envelopeToJson,
  objectId,
  signerFrom,
  type Envelope,
  type Signer,
} from '../protocol/signed.ts'
import { makeFolder } from './make-folder.ts'
import { saveFile } from './save-file.ts'
import { readKeyFile, readOptional, sealKey } from './secret-file.ts'

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

/** A file for a recovery key. */
export interface RecoveryFile {
  readonly path: string
  /** It is age-encrypted under this; in the clear without. */
  readonly passphrase?: string
}

export interface Home {
  readonly dir: string
  /**
   * Makes a key, a recovery key above it, and an identity; the same again when there is one already.
   * @param recovery where the recovery key goes, out of the home where it is there; in the home unless given, under the
   *   key's passphrase
   * @throws Problem `conflict` when a passphrase is given for a key that has none, the recovery file is there, or there are
   *   keys without their identity; `not-found` when the home has no recovery key to go to the file
   */
  init(environment: Environment, passphrase?: string, recovery?: RecoveryFile): Promise<Owner>
  /** @throws Problem `not-found` before `init`, `conflict` when there are keys without their identity */
  owner(): Promise<Owner>
  /** @throws Problem `not-found` before `init`, `forbidden` when the key is encrypted and the passphrase is missing or wrong */
  signer(passphrase?: string): Promise<Signer>
  settings(): Promise<Settings>
  /** Whose cosignatures a ledger's checkpoints need (C2SP tlog-policy); undefined where the owner names nobody. @throws Problem `bad-encoding` */
  witnesses(): Promise<LogPolicy | undefined>
  /** The same of a repository's. */
  repositoryWitnesses(): Promise<LogPolicy | undefined>
  saveSettings(settings: Settings): Promise<void>
  /** A new recovery key, in a file that was not there. @throws Problem `conflict` */
  makeRecovery(environment: Environment, file: RecoveryFile): Promise<Signer>
  /** The everyday key to come: the same until the change is taken. Under the passphrase where one is given. */
  nextSigner(environment: Environment, passphrase?: string): Promise<Signer>
  /** The whole identity of a change of keys that is under way: it was saved, and not everybody may know. */
  change(): Promise<readonly Envelope[] | undefined>
  saveChange(operations: readonly Envelope[]): Promise<void>
  /** The change becomes the identity, and the key to come the key. */
  takeChange(): Promise<void>
  dropChange(): Promise<void>
}

export function openHome(dir: string): Home {
  const path = (name: string) => join(dir, name)

  async function save(name: string, content: string | Uint8Array): Promise<void> {
    makeFolder(dir, 0o700)
    await saveFile(path(name), content, 0o600)
  }

  async function identityIn(name: string): Promise<readonly Envelope[] | undefined> {
    const saved = await readJson<{ operations?: readonly unknown[] }>(name)
    return saved && (saved.operations ?? []).map((operation) => envelopeFromJson(operation))
  }

  const saveIdentity = (name: string, operations: readonly Envelope[]): Promise<void> =>
    save(name, JSON.stringify({ operations: operations.map(envelopeToJson) }, null, 2))

  async function owner(): Promise<Owner> {
    const operations = await identityIn('identity.json')
    if (!operations) {
      await refuseLost()
      throw new Problem('not-found', `No identity in ${dir}: run \`raincheck init\` first.`)
    }
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

  async function policyIn(name: string): Promise<LogPolicy | undefined> {
    const saved = await readOptional(path(name))
    try {
      return saved && parseLogPolicy(fromUtf8(saved))
    } catch (error) {
      throw new Problem('bad-encoding', `${path(name)}: ${problemOf(error).message}`)
    }
  }

  /** Of `name`, or encrypted of `name`.age. */
  const secret = async (name: string, passphrase?: string): Promise<Bytes | undefined> =>
    (await readKeyFile(path(name), passphrase)) ?? readKeyFile(path(`${name}.age`), passphrase)

  async function makeKey({ random }: Environment, name: string, passphrase?: string): Promise<Bytes> {
    const key = random.bytes(32)
    await save(passphrase === undefined ? name : `${name}.age`, await sealKey(key, passphrase))
    return key
  }

  const known = async (environment: Environment, name: string, passphrase?: string): Promise<Signer> =>
    signerFrom((await secret(name, passphrase)) ?? (await makeKey(environment, name, passphrase)))

  const has = async (name: string): Promise<boolean> =>
    ((await readOptional(path(name))) ?? (await readOptional(path(`${name}.age`)))) !== undefined

  /** A new identity in the place of a lost one would leave its credits and its trust behind. */
  async function refuseLost(): Promise<void> {
    // The everyday key of an `init` that was interrupted is still one to come.
    if (!(await has('key')) && ((await has('next-key')) || !(await has('recovery')))) return
    throw new Problem(
      'conflict',
      `${dir} has a key, but no identity.json: bring that back, or \`raincheck recover --recovery-file R --id ID --ledger URL\` fetches it.`,
    )
  }

  async function makeIdentity(environment: Environment, passphrase?: string, recovery?: RecoveryFile): Promise<void> {
    const begun = await identityIn('next-identity.json')
    if (begun && begun.length > 1)
      throw new Problem('conflict', `A change of keys in ${dir} was interrupted: give its command again.`)
    if (!begun) {
      await refuseLost()
      const everyday = await known(environment, 'next-key', passphrase)
      const above = await (recovery ? makeRecovery(environment, recovery) : known(environment, 'recovery', passphrase))
      await saveIdentity('next-identity.json', [genesis([above, everyday], environment.clock.now())])
    }
    await takeChange()
  }

  /** It leaves the home once the file is seen to hold it. */
  async function moveRecovery(nowMs: number, file: RecoveryFile, passphrase?: string): Promise<void> {
    const key = await secret('recovery', passphrase)
    const { keys } = replay((await owner()).operations, nowMs)
    if (!key || !keys.some((one) => equal(one, signerFrom(key).key)))
      throw new Problem(
        'not-found',
        `The recovery key is not in ${dir}: \`raincheck rotate --recovery-file ${file.path}\` makes another.`,
      )
    await writeRecovery(key, file)
    const written = await readKeyFile(file.path, file.passphrase)
    if (!written || !equal(written, key))
      throw new Problem('storage-unavailable', `${file.path} does not hold what was written into it.`)
    for (const name of ['recovery', 'recovery.age']) await rm(path(name), { force: true })
  }

  async function takeChange(): Promise<void> {
    for (const [next, now, other] of KEY_FILES) {
      if (!(await readOptional(path(next)))) continue
      await rename(path(next), path(now))
      await rm(path(other), { force: true })
    }
    await rename(path('next-identity.json'), path('identity.json'))
  }

  return {
    dir,
    owner,
    makeRecovery,
    async init(environment, passphrase, recovery) {
      if (passphrase !== undefined && (await readOptional(path('key'))))
        throw new Problem(
          'conflict',
          `The key in ${path('key')} is there already, without a passphrase: \`raincheck rotate --passphrase-file F\` makes another, under one.`,
        )
      if (!(await readOptional(path('identity.json')))) await makeIdentity(environment, passphrase, recovery)
      else if (recovery) await moveRecovery(environment.clock.now(), recovery, passphrase)
      return owner()
    },
    async signer(passphrase) {
      const key = await secret('key', passphrase)
      if (!key)
        throw new Problem(
          'not-found',
          `No key in ${dir}: bring it back, or \`raincheck recover --recovery-file R\` makes another.`,
        )
      return signerFrom(key)
    },
    witnesses: () => policyIn('witnesses'),
    repositoryWitnesses: () => policyIn('repository-witnesses'),
    settings: async () => (await readJson<Settings>('settings.json')) ?? {},
    saveSettings: (settings) => save('settings.json', `${JSON.stringify(settings, null, 2)}\n`),
    nextSigner: (environment, passphrase) => known(environment, 'next-key', passphrase),
    change: () => identityIn('next-identity.json'),
    saveChange: (operations) => saveIdentity('next-identity.json', operations),
    takeChange,
    async dropChange() {
      for (const name of ['next-identity.json', 'next-key', 'next-key.age']) await rm(path(name), { force: true })
    },
  }
}

async function makeRecovery({ random }: Environment, file: RecoveryFile): Promise<Signer> {
  const key = random.bytes(32)
  await writeRecovery(key, file)
  return signerFrom(key)
}

/** Never over what is there: it may be another recovery key. */
async function writeRecovery(key: Bytes, file: RecoveryFile): Promise<void> {
  await writeFile(file.path, await sealKey(key, file.passphrase), { mode: 0o400, flush: true, flag: 'wx' }).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      throw new Problem('conflict', `${file.path} is there already: choose another place for the recovery key.`)
    },
  )
}

/** The key that comes, the key that it becomes, and where that may have been instead. */
const KEY_FILES = [
  ['next-key', 'key', 'key.age'],
  ['next-key.age', 'key.age', 'key'],
] as const

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
