import { parseDelegation } from '../../../protocol/delegation.ts'
import { problemOf } from '../../../protocol/problem.ts'
import { envelopeFromJson } from '../../../protocol/signed.ts'
import { auditLedger } from '../audit.ts'
import { UsageError, type Answer, type Call, type Command } from '../command.ts'
import { formatBytes, table } from '../format.ts'

interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

const DAY_MS = 24 * 60 * 60 * 1000

export const serviceCommands: Readonly<Record<string, Command>> = {
  audit: {
    usage: '[LEDGERURL]',
    summary: 'Replay a ledger from its first entry and check every signature, rule, sum, root and proof',
    takes: [0, 1],
    run: audit,
  },
  usage: {
    usage: '[--since T]',
    summary: 'Bytes stored, served and fetched since T (a date, or milliseconds)',
    options: { since: { type: 'string' } },
    takes: [0, 0],
    async run(call) {
      const since = sinceMs(call.text('since') ?? '0')
      const json = await (await call.agent()).ask<Record<string, number>>('GET', `/v1/usage?since=${since}`)
      const rows = ['stored', 'served', 'fetched'].map((name) => [name, formatBytes(json[name] ?? 0)])
      return { json, text: table(rows) }
    },
  },
  doctor: { usage: '', summary: 'Look for what is wrong with your agent', takes: [0, 0], run: doctor },
}

async function audit(call: Call): Promise<Answer> {
  const report = await auditLedger(await call.ledger(call.args[0]), (checked, size) =>
    call.progress(`audited ${checked} of ${size} entries`),
  )
  call.progress('')
  const verdict = report.ok ? 'ok' : `FAULT: ${report.problems.join('; ')}`
  const text = `${report.origin}: ${report.size} entries, root ${report.rootHash}: ${verdict}`
  return { json: report, text, exitCode: report.ok ? 0 : 1 }
}

function sinceMs(text: string): number {
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (!Number.isSafeInteger(ms) || ms < 0)
    throw new UsageError(`raincheck usage: '${text}' is neither a date nor milliseconds.`)
  return ms
}

async function doctor(call: Call): Promise<Answer> {
  const checks = [
    await check('key', async () => `signs as ${(await call.signer()).key.length * 8}-bit ed25519`),
    await check('agent', async () => {
      const links = await (await call.agent()).ask<unknown[]>('GET', '/v1/links')
      if (links.length === 0) throw new UsageError('answers, but no storage is linked: `raincheck link folder DIR`')
      return `answers, ${links.length} storage linked`
    }),
    await check('delegation', () => delegationDetail(call)),
    await check('ledger', async () => `answers as ${(await (await call.ledger()).info()).origin}`),
    await check('funds', async () => {
      const { available } = await (await call.agent()).ask<{ available: string }>('GET', '/v1/balance')
      if (available === '0') throw new UsageError('no credits are available')
      return `${available} credits available`
    }),
    await check('repository', async () => {
      await (await call.repository()).search('doctor')
      return 'answers'
    }),
    await check('shares', async () => {
      const shares = await (await call.agent()).ask<{ name: string; withdrawn?: string }[]>('GET', '/v1/shares')
      const gone = shares.filter((share) => share.withdrawn !== undefined)
      if (gone.length > 0) throw new UsageError(`withdrawn: ${gone.map((share) => share.name).join(', ')}`)
      return `${shares.length} offered`
    }),
  ]
  const ok = checks.every((one) => one.ok)
  const rows = checks.map((one) => [one.ok ? 'ok' : 'FAULT', one.name, one.detail])
  return { json: { ok, checks }, text: table(rows), exitCode: ok ? 0 : 1 }
}

async function check(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await look() }
  } catch (error) {
    return { name, ok: false, detail: error instanceof UsageError ? error.message : problemOf(error).message }
  }
}

async function delegationDetail(call: Call): Promise<string> {
  const url = (await call.settings()).agent
  const response = await call.environment.transport(new Request(`${url}/.well-known/raincheck`))
  const profile = (await response.json()) as { delegation: unknown }
  const leftMs = parseDelegation(envelopeFromJson(profile.delegation)).expires - call.environment.clock.now()
  if (leftMs <= 0) throw new UsageError('the agent’s delegation has expired: restart it to renew')
  return `good for ${Math.floor(leftMs / DAY_MS)} days`
}
