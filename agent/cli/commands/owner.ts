import { fromUtf8, toHex } from '../../../protocol/bytes.ts'
import type { Answer, Call, Command } from '../command.ts'

export const ownerCommands: Readonly<Record<string, Command>> = {
  init: {
    usage: '[--passphrase-file F]',
    summary: 'Make your key and identity (the same again when you have one)',
    takes: [0, 0],
    async run(call) {
      const file = call.text('passphrase-file')
      const passphrase = file === undefined ? undefined : fromUtf8(await call.readFile(file)).replace(/\r?\n$/, '')
      await call.home.init(call.environment, passphrase)
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
