/** One signed object on its way from hand to hand: a file that holds it under the name of its kind, and nothing secret. */
import { Problem } from '../../protocol/problem.ts'
import { envelopeFromJson, envelopeToJson, type Envelope, type Kind } from '../../protocol/signed.ts'
import { saveFile } from '../save-file.ts'
import type { Call } from './command.ts'
import { parseJsonFile } from './json-file.ts'

export async function saveSigned(path: string, kind: Kind, envelope: Envelope): Promise<void> {
  await saveFile(path, `${JSON.stringify({ [kind]: envelopeToJson(envelope) }, null, 2)}\n`)
}

/** Its signature is for others to check. @throws Problem `bad-encoding`, `bad-request` unless it is of the kind */
export async function readSigned(call: Pick<Call, 'readFile'>, path: string, kind: Kind): Promise<Envelope> {
  const json = parseJsonFile(await call.readFile(path))
  if (typeof json !== 'object' || json === null || Object.keys(json).join() !== kind)
    throw new Problem('bad-encoding', `${path} holds no ${kind}.`)
  return envelopeFromJson((json as Record<string, unknown>)[kind], kind)
}
