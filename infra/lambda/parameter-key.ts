/** A service's own 32-byte key as a SecureString of Parameter Store, as hex, made when it is first needed. */
import {
  DeleteParameterCommand,
  GetParameterCommand,
  ParameterAlreadyExists,
  ParameterNotFound,
  PutParameterCommand,
  SSMClient,
} from '@aws-sdk/client-ssm'
import { fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import type { Random } from '../../protocol/environment.ts'

const KEY_BYTES = 32

/** Made where there is none. Many instances may come first at once: all get the key that was put first. */
export async function openParameterKey(name: string, random: Random, client = new SSMClient({})): Promise<Bytes> {
  const known = await findParameterKey(name, client)
  if (known) return known
  const put = new PutParameterCommand({
    Name: name,
    Type: 'SecureString',
    Value: toHex(random.bytes(KEY_BYTES)),
    Description: 'The key of a Raincheck service: who has it speaks for the service.',
  })
  await client.send(put).catch(unless(ParameterAlreadyExists))
  return (await findParameterKey(name, client)) ?? missing(name)
}

export async function deleteParameterKey(name: string, client = new SSMClient({})): Promise<void> {
  await client.send(new DeleteParameterCommand({ Name: name })).catch(unless(ParameterNotFound))
}

/** Makes none. */
export async function findParameterKey(name: string, client = new SSMClient({})): Promise<Bytes | undefined> {
  const command = new GetParameterCommand({ Name: name, WithDecryption: true })
  const { Parameter: parameter } = (await client.send(command).catch(unless(ParameterNotFound))) ?? {}
  return parameter?.Value === undefined ? undefined : fromHex(parameter.Value, KEY_BYTES)
}

function unless(expected: new (...args: never[]) => Error): (error: unknown) => undefined {
  return (error) => {
    if (!(error instanceof expected)) throw error
    return undefined
  }
}

function missing(name: string): never {
  throw new Error(`The parameter ${name} was made, and is not there.`)
}
