/** Accounts at ledgers of a federation: its authority says who may have one, and an owner opens it with that. */
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import { readSigned, saveSigned } from '../signed-file.ts'
import { timeText } from '../time-text.ts'
import { idOf } from '../words.ts'
import { signerOf } from './ledger.ts'

const USUAL_MEMBERSHIP = '365d'

export const authorityCommands: Commands = {
  'ledger certify': {
    usage: 'ID --key FILE --out MEMBERSHIP [--for 365d]',
    summary: 'As the authority, write a membership of the federation for an owner, who opens an account with it',
    options: { key: { type: 'string' }, out: { type: 'string' }, for: { type: 'string' } },
    takes: [1, 1],
    run: certify,
  },
}

export const memberCommands: Commands = {
  register: {
    usage: '[MEMBERSHIP] [--ledger URL]',
    summary:
      'Open your account at a ledger, before your agent does: with the file MEMBERSHIP where it asks for one. It is yours from then on, where your settings name none',
    options: { ledger: { type: 'string' } },
    takes: [0, 1],
    run: register,
  },
}

async function certify(call: Call): Promise<Answer> {
  const [id, out] = [idOf(call), call.text('out')]
  const forMs = durationMs(call.text('for') ?? USUAL_MEMBERSHIP)
  if (forMs === undefined) throw new UsageError('--for takes a time such as 30d.')
  if (out === undefined) throw new UsageError('--out is needed: the file to write for the owner.')
  const { certify: sign, parseMembership } = await import('../../../protocol/federation.ts')
  const issued = call.environment.clock.now()
  const membership = sign({ expires: issued + forMs, issued, member: fromHex(id) }, await signerOf(call))
  const { expires } = parseMembership(membership)
  await saveSigned(call.resolvePath(out), 'membership', membership)
  return {
    json: { member: id, expires },
    text: `${id} may open an account until ${timeText(expires)}: hand over ${out}.`,
  }
}

async function register(call: Call): Promise<Answer> {
  const [file] = call.args
  const membership = file === undefined ? undefined : await readSigned(call, file, 'membership')
  const { publishIdentity } = await import('../../key-change.ts')
  const [owner, ledger] = [await call.owner(), await call.ledger(call.text('ledger'))]
  const [first] = owner.operations
  if (first) await ledger.register(first, membership)
  // Told again, the first is answered as before; what came after it follows.
  await publishIdentity(owner.operations, { ledger })
  const settings = await call.settings()
  if (settings.ledger === undefined) await call.home.saveSettings({ ...settings, ledger: ledger.url })
  const account = await ledger.account(toHex(owner.id))
  return {
    json: { id: account.id, ledger: ledger.url, available: String(account.available) },
    text: `You have an account at ${ledger.url}, with ${account.available} credits.`,
  }
}
