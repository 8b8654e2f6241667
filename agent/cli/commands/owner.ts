import { toHex } from '../../../protocol/bytes.ts'
import type { Answer, Call, Commands } from '../command.ts'

export const ownerCommands: Commands = {
  init: {
    usage: '[--passphrase-file F]',
    summary: 'Make your key and identity (the same again when you have one); with F, the key is encrypted (age)',
    takes: [0, 0],
    async run(call) {
      await call.home.init(call.environment, await call.passphrase())
      return whoami(call)
    },
  },
  whoami: { usage: '', summary: 'Show your id and public key', takes: [0, 0], run: whoami },
}

async function whoami(call: Call): Promise<Answer> {
  const [owner, signer] = [await call.owner(), await call.signer()]
  const json = { id: toHex(owner.id), key: toHex(signer.key) }
  return { json, text: `id   ${json.id}\nkey  ${json.key}` }
}
