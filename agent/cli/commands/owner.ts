import { toHex } from '../../../protocol/bytes.ts'
import { unlessBug } from '../../../protocol/problem.ts'
import { recoveryFile } from './keys.ts'
import type { Answer, Call, Commands } from '../command.ts'

export const ownerCommands: Commands = {
  init: {
    usage: '[--passphrase-file F] [--recovery-file R [--recovery-passphrase-file G]]',
    summary:
      'Make your key, a recovery key above it and your identity (the same again when you have one, and the recovery key moves to R); with F, keys are encrypted (age)',
    options: { 'recovery-file': { type: 'string' }, 'recovery-passphrase-file': { type: 'string' } },
    takes: [0, 0],
    async run(call) {
      const file = await recoveryFile(call)
      const isNew = !(await call.home.owner().catch(unlessBug))
      await call.home.init(call.environment, await call.passphrase(), file)
      const { json, text } = await whoami(call)
      const place = file?.path ?? (isNew ? call.homeDir : undefined)
      return { json, text: place === undefined ? text : `${text}\n${adviceOn(place)}` }
    },
  },
  whoami: { usage: '', summary: 'Show your id and public key', takes: [0, 0], run: whoami },
}

/** @param place where the recovery key is */
const adviceOn = (place: string): string =>
  `Your recovery key is in ${place}: keep it away from this machine. It is all that helps when your key is stolen.`

async function whoami(call: Call): Promise<Answer> {
  const [owner, signer] = [await call.owner(), await call.signer()]
  const json = { id: toHex(owner.id), key: toHex(signer.key) }
  return { json, text: `id   ${json.id}\nkey  ${json.key}` }
}
