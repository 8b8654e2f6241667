import { writeFile } from 'node:fs/promises'
import { equal, fromHex, toHex, type Bytes } from '../../../protocol/bytes.ts'
import { replay, type IdentityState } from '../../../protocol/identity.ts'
import { Problem, unlessBug } from '../../../protocol/problem.ts'
import { parseHead } from '../../../protocol/vouch.ts'
import { envelopeToJson, signerFrom, type Signer } from '../../../protocol/signed.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import type { Keepers } from '../../key-change.ts'
import { readPassphrase, type RecoveryFile } from '../../home.ts'
import { idIn } from '../words.ts'

const RECOVERY_OPTIONS = {
  'recovery-file': { type: 'string' },
  'recovery-passphrase-file': { type: 'string' },
} as const
/** Where the settings name none. */
const KEEPER_OPTIONS = { ledger: { type: 'string' }, repository: { type: 'string' } } as const
const VOUCHES =
  'Your vouches count no more until you say which are yours: once your agent is started again, `raincheck revouch` shows them, a thief’s among them.'
/** Loaded when they are asked for. */
const changes = () => import('../../key-change.ts')

export const keyCommands: Commands = {
  rotate: {
    usage: '[--passphrase-file F] [--recovery-file R [--recovery-passphrase-file G]] [--ledger URL] [--repository URL]',
    summary:
      'Replace your key by a new one, with F encrypted (age); with R, also make a new recovery key above it. Restart your agent afterwards',
    options: { ...RECOVERY_OPTIONS, ...KEEPER_OPTIONS },
    takes: [0, 0],
    run: rotate,
  },
  recover: {
    usage: '--recovery-file F [--recovery-passphrase-file G] [--id ID --ledger URL --repository URL]',
    summary: 'Shut out whoever has your key, and make a new one: here, or on another machine that is told ID and URLs',
    options: { ...RECOVERY_OPTIONS, ...KEEPER_OPTIONS, id: { type: 'string' } },
    takes: [0, 0],
    run: recover,
  },
  delegate: {
    usage: 'AGENTKEY [--day CREDITS] [--total CREDITS] [--none] [--out FILE]',
    summary: 'Let the agent on another host act for you within caps, or with --none no longer; FILE is for its home',
    options: { day: { type: 'string' }, total: { type: 'string' }, none: { type: 'boolean' }, out: { type: 'string' } },
    takes: [1, 1],
    run: delegate,
  },
}

/** Where a recovery key is to be read or written. */
export async function recoveryFile(call: Call): Promise<RecoveryFile | undefined> {
  const file = call.text('recovery-file')
  if (file === undefined) return undefined
  const passphraseFile = call.text('recovery-passphrase-file')
  const passphrase =
    passphraseFile === undefined ? await call.passphrase() : await readPassphrase(call.resolvePath(passphraseFile))
  return { path: call.resolvePath(file), ...(passphrase !== undefined && { passphrase }) }
}

async function requiredFile(call: Call): Promise<RecoveryFile> {
  const file = await recoveryFile(call)
  if (!file) throw new UsageError('--recovery-file is needed: the file of the recovery key.')
  return file
}

function rankOf(state: IdentityState, signer: Signer): number {
  const rank = state.keys.findIndex((key) => equal(key, signer.key))
  if (rank < 0) throw new Problem('unknown-key', 'Your key speaks for you no more: run `raincheck recover`.')
  return rank
}

/** As the settings name them. */
async function keepersOf(call: Call): Promise<Keepers> {
  const { ledger, repository } = await call.settings()
  return {
    ...((ledger ?? call.text('ledger')) !== undefined && { ledger: await call.ledger(call.text('ledger')) }),
    ...((repository ?? call.text('repository')) !== undefined && {
      repository: await call.repository(call.text('repository')),
    }),
  }
}

/** As the ledger knows it; as it is here where no ledger knows it yet. */
async function stateOf(call: Call, { ledger }: Keepers): Promise<IdentityState> {
  const { identityAt } = await changes()
  const { id, operations } = await call.owner()
  const known = await ledger?.operations(toHex(id)).catch(unlessUnknown)
  return known ? identityAt(id, known) : replay(operations, call.environment.clock.now())
}

function unlessUnknown(error: unknown): undefined {
  if (!(error instanceof Problem) || error.code !== 'not-found') throw error
}

type Make = Parameters<Awaited<ReturnType<typeof changes>>['changeKeys']>[0]['make']

async function change(call: Call, make: Make): Promise<Answer> {
  const { changeKeys } = await changes()
  const keepers = await keepersOf(call)
  const { environment, home } = call
  const state = await changeKeys({ home, environment, keepers, make, state: () => stateOf(call, keepers) })
  return answer(call, state, keepers)
}

async function rotate(call: Call): Promise<Answer> {
  const file = await recoveryFile(call)
  return change(call, async (state, nowMs) => {
    const { replaceKey } = await changes()
    const { environment, home } = call
    const signer = await call.signer()
    const rank = rankOf(state, signer)
    const next = await home.nextSigner(environment, await call.passphrase())
    const keys = state.keys.with(rank, next.key)
    const above = file && (await home.makeRecovery(environment, file))
    const books = await booksOf(call, state)
    return replaceKey(state, signer, above ? [above.key, ...keys.slice(rank)] : keys, nowMs, books)
  })
}

/** The number after the newest vouch book: what was vouched for stands, though the key that signed it goes. */
async function booksOf(call: Call, { id }: IdentityState): Promise<number | undefined> {
  const { repository } = await keepersOf(call)
  const book = await repository?.book(toHex(id)).catch(unlessBug)
  return book && parseHead(book.head).seq + 1
}

async function recover(call: Call): Promise<Answer> {
  const { path, passphrase } = await requiredFile(call)
  const { changeKeys, identityAt, recoverKeys } = await changes()
  const secret = await readRecovery(path, passphrase)
  const keepers = await keepersOf(call)
  const { ledger } = keepers
  if (!ledger) throw new UsageError('--ledger is needed: the URL of your ledger, which your settings do not name.')
  const id = await recoveredId(call)
  const { environment, home } = call
  const state = await changeKeys({
    home,
    environment,
    keepers,
    state: async () => identityAt(id, await ledger.operations(toHex(id))),
    make: async (known, nowMs) => {
      const next = await home.nextSigner(environment, await call.passphrase())
      return recoverKeys(known, signerFrom(secret), next.key, nowMs)
    },
  })
  await home.saveSettings({
    ledger: ledger.url,
    ...(keepers.repository && { repository: keepers.repository.url }),
    ...(await home.settings()),
  })
  const { text, ...told } = await answer(call, state, keepers)
  return { ...told, text: `${text}\n${VOUCHES}` }
}

async function readRecovery(path: string, passphrase: string | undefined): Promise<Bytes> {
  const { readKeyFile } = await import('../../secret-file.ts')
  const key = await readKeyFile(path, passphrase)
  if (!key) throw new Problem('not-found', `There is no recovery key in ${path}.`)
  return key
}

async function recoveredId(call: Call): Promise<Bytes> {
  const id = call.text('id')
  if (id === undefined) return (await call.owner()).id
  return fromHex(idIn(id))
}

async function answer(call: Call, { id, keys }: IdentityState, keepers: Keepers): Promise<Answer> {
  const { key } = await call.signer()
  const told = Object.values(keepers).map(({ url }: { readonly url: string }) => url)
  const json = { id: toHex(id), key: toHex(key), keys: keys.map(toHex), told }
  const next = keepers.ledger
    ? 'Your agent goes on once it is started again.'
    : 'No ledger was told: your settings name none. One that knows you obeys the old key until `raincheck register --ledger URL`.'
  return { json, text: `id   ${json.id}\nkey  ${json.key}\n${next}` }
}

async function delegate(call: Call): Promise<Answer> {
  const agent = call.args[0] as string
  if (!/^[0-9a-f]{64}$/.test(agent))
    throw new UsageError(`'${agent}' is not an agent's public key: 64 lower-case hex digits.`)
  const { delegateTo, USUAL_CAPS } = await import('../../adopt.ts')
  const ledger = await call.ledger()
  const caps = {
    day: BigInt(call.credits('day') ?? USUAL_CAPS.day),
    total: BigInt(call.credits('total') ?? USUAL_CAPS.total),
  }
  const delegation = delegateTo({
    agent: fromHex(agent),
    caps,
    ledgerId: (await ledger.info()).id,
    nowMs: call.environment.clock.now(),
    owner: (await call.owner()).id,
    signer: await call.signer(),
    ...(call.flag('none') && { may: [] }),
  })
  await ledger.delegate(delegation)
  const json = envelopeToJson(delegation)
  const out = call.text('out')
  if (out !== undefined) await writeFile(call.resolvePath(out), JSON.stringify(json), { mode: 0o600 })
  const told = { agent, day: String(caps.day), total: String(caps.total), delegation: json }
  return { json: told, text: call.flag('none') ? `${agent} acts for you no more.` : JSON.stringify(json) }
}
