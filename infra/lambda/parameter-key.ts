/** A service's own 32-byte key as a SecureString of Parameter Store, as hex: it comes and goes with the service's stack. */
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
import { Problem } from '../../protocol/problem.ts'

const KEY_BYTES = 32

/** Made where there is none: for who sets the stack up. Many may come first at once: all get the key that was put first. */
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

/** For who serves: an event that comes after the stack went must not make another. @throws Problem `store-unavailable` */
export async function requireParameterKey(name: string): Promise<Bytes> {
  const key = await findParameterKey(name)
  if (!key) throw new Problem('store-unavailable', 'The service has no key: its stack is being created or deleted.')
  return key
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
