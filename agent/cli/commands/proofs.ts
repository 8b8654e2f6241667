/** Proofs that a ledger broke its word, or a repository showed two histories: shown, written out, and checked without anybody's help. */
import type { Breach, Finding } from '../../../protocol/breach.ts'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { parseJsonFile } from '../json-file.ts'
import { sourceAtUrl, sourceInFolder, type LogSource } from '../log-source.ts'

export const proofCommands: Commands = {
  proofs: {
    usage: '[--verify FILE [TILESURL|DIR]]',
    summary:
      'Proofs that your ledger or your repository broke its word; or check one that somebody has, a receipt’s against the log',
    options: { verify: { type: 'string' } },
    takes: [0, 1],
    run: async (call) => (call.text('verify') === undefined ? list(call) : verify(call)),
  },
}

async function list(call: Call): Promise<Answer> {
  if (call.args.length > 0) throw new UsageError('A tiles URL or folder can only be given with --verify.')
  const agent = await call.agent()
  const ofRepository = await agent.ask<Breach[]>('GET', '/v1/breaches')
  const breaches = [
    ...(await agent.ask<Breach[]>('GET', '/v1/proofs')),
    ...ofRepository.filter(({ kind }) => kind === 'fork'),
  ]
  const lines = breaches.map(({ kind, vkey }) => `${kind}: ${vkey.split('+', 1)[0]}`)
  const text =
    lines.length === 0
      ? 'Your ledger and your repository have kept their word.'
      : `${lines.join('\n')}\nSave them: raincheck proofs --json`
  return { json: breaches, text, exitCode: breaches.length === 0 ? 0 : 1 }
}

async function verify(call: Call): Promise<Answer> {
  const { parseBreach } = await import('../../../protocol/breach.ts')
  const json = parseJsonFile(await call.readFile(call.text('verify') ?? ''))
  const found: Finding[] = []
  for (const one of Array.isArray(json) ? json : [json]) found.push(await check(call, parseBreach(one)))
  return { json: found, text: found.map(({ detail }) => detail).join('\n') }
}

async function check(call: Call, breach: Breach): Promise<Finding> {
  const { verifyBrokenReceipt, verifyFork } = await import('../../../protocol/breach.ts')
  if (breach.kind === 'fork') return verifyFork(breach)
  return verifyBrokenReceipt(breach, await sourceOf(call))
}

/** Of the hashes that a broken receipt is held against. */
async function sourceOf(call: Call): Promise<Pick<LogSource, 'tile'>> {
  const [place] = call.args
  if (place === undefined)
    throw new UsageError('Name the URL or the folder of the log’s tiles: a receipt is held against it.')
  if (/^https?:\/\//.test(place)) return sourceAtUrl(call.environment, place.replace(/\/+$/, ''))
  return sourceInFolder(call.resolvePath(place))
}
