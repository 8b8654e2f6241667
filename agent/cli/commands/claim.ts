import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { Problem } from '../../../protocol/problem.ts'
import { envelopeToJson } from '../../../protocol/signed.ts'
import { z } from 'zod'
import { delegateTo, USUAL_CAPS } from '../../adopt.ts'
import { createHttpClient } from '../../clients/http-client.ts'
import type { Answer, Call, Commands } from '../command.ts'

const statusShape = z.object({ key: z.string(), ledger: z.string(), ledgerId: z.string(), repository: z.string() })
const ownerShape = z.object({ id: z.string() })

export const claimCommands: Commands = {
  claim: {
    usage: 'AGENTURL [--secret SECRET] [--day CREDITS] [--total CREDITS]',
    summary:
      'Make a deployed agent yours with the secret of its deployment; again, without it, renew what it may spend',
    options: { secret: { type: 'string' }, day: { type: 'string' }, total: { type: 'string' } },
    takes: [1, 1],
    run: claim,
  },
}

async function claim(call: Call): Promise<Answer> {
  const url = urlOf(call.args[0] ?? '')
  const http = createHttpClient(call.environment, url)
  const status = await http.json({ method: 'GET', path: '/v1/claim' }, statusShape).catch((error: unknown) => {
    if (!(error instanceof Problem) || error.code !== 'not-found') throw error
    throw new Problem(error.code, `${url} is no agent in the cloud: its stack’s outputs name the Url.`)
  })
  const owner = await call.owner()
  const [day, total] = [call.credits('day'), call.credits('total')]
  const delegation = delegateTo({
    owner: owner.id,
    signer: await call.signer(),
    agent: fromHex(status.key, 32),
    ledgerId: status.ledgerId,
    caps: {
      day: day === undefined ? USUAL_CAPS.day : BigInt(day),
      total: total === undefined ? USUAL_CAPS.total : BigInt(total),
    },
    nowMs: call.environment.clock.now(),
  })
  const secret = call.text('secret')
  const json = {
    ...(secret !== undefined && { secret }),
    operations: owner.operations.map(envelopeToJson),
    delegation: envelopeToJson(delegation),
  }
  const { id } = await http.json({ method: 'POST', path: '/v1/claim', json }, ownerShape)
  if (id !== toHex(owner.id)) throw new Problem('peer-failed', 'The agent says that it is somebody else’s.')
  await call.home.saveSettings({ agent: url, ledger: status.ledger, repository: status.repository })
  return { json: { id, agent: url }, text: `The agent at ${url} is yours.` }
}

function urlOf(text: string): string {
  if (!URL.canParse(text)) throw new Problem('bad-request', `${JSON.stringify(text)} is not a URL.`)
  return text.replace(/\/+$/, '')
}
