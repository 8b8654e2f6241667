/** A 32-byte key in a file: in hex, or age-encrypted under a passphrase. */
import { readFile } from 'node:fs/promises'
import { fromHex, fromUtf8, toHex, type Bytes } from '../protocol/bytes.ts'
import { Problem } from '../protocol/problem.ts'

const AGE = 'age-encryption.org/'

/** What to write into the file. */
export const sealKey = async (key: Bytes, passphrase?: string): Promise<string | Uint8Array> =>
  passphrase === undefined ? `${toHex(key)}\n` : encrypt(toHex(key), passphrase)

/**
 * @returns undefined when there is no such file
 * @throws Problem `forbidden` when it is encrypted and the passphrase is missing or wrong, `bad-encoding`
 */
export async function readKeyFile(path: string, passphrase?: string): Promise<Bytes | undefined> {
  const content = await readOptional(path)
  if (!content) return undefined
  const isEncrypted = new TextDecoder('latin1').decode(content.subarray(0, AGE.length)) === AGE
  const text = isEncrypted ? await decrypt(content, passphrase) : content
  try {
    return fromHex(fromUtf8(text).trim(), 32)
  } catch {
    throw new Problem('bad-encoding', `${path} does not hold a key: 64 hex digits.`)
  }
}

export async function readOptional(path: string): Promise<Uint8Array | undefined> {
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
  if (passphrase === undefined)
    throw new Problem(
      'forbidden',
      'The key is encrypted: --passphrase-file F or RAINCHECK_PASSPHRASE_FILE names its passphrase’s file.',
    )
  const { Decrypter } = await age()
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  return decrypter.decrypt(encrypted).catch(() => {
    throw new Problem('forbidden', 'The passphrase does not open the key.')
  })
}
