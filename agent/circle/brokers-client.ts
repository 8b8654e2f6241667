/** The broker of a circle as a member's agent sees it: what it says of the circle, sessions, and whether one still holds. */
import { z } from '@hono/zod-openapi'
import { authorityOf } from '../../protocol/authority.ts'
import { equal, fromHex, toBase64url, toHex } from '../../protocol/bytes.ts'
import { requireInForce } from '../../protocol/delegation.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { CIRCLE_KINDS } from '../../protocol/session.ts'
import { envelopeFromJson, envelopeToJson } from '../../protocol/signed.ts'
import { createHttpClient } from '../clients/http-client.ts'
import type { AgentContext } from '../context.ts'
import { identityNow } from './identity-now.ts'
import type { JoinedCircle } from './records.ts'

export const circleShape = z.object({
  by: wire.id,
  circle: z.string(),
  kind: z.enum(CIRCLE_KINDS),
  revoked: z.array(z.object({ member: wire.id, since: wire.time })).max(limits.membersPerCircle),
})
const profileShape = z.object({
  id: wire.id,
  key: wire.id,
  operations: z.array(wire.envelope).max(limits.operationsPerIdentity),
  delegation: wire.envelope,
})
export const sessionShape = z.object({ session: z.string().max(limits.paymentHeaderBytes) })
export const validShape = z.object({ member: wire.id, expires: wire.time })

const NONCE_BYTES = 16

export interface BrokersClient {
  /** What the broker says of a circle, its key bound to its id. @throws Problem `not-found`, `peer-failed`, `unknown-key` */
  read(url: string, name: string): Promise<JoinedCircle>
  /** A new session for our key, as the header carries it. @throws Problem `forbidden`, … of the broker */
  ask(circle: JoinedCircle): Promise<string>
  /** @throws Problem `forbidden`, `expired`, … of the broker, `peer-failed` */
  validate(circle: JoinedCircle, session: string): Promise<void>
}

export function createBrokersClient(context: AgentContext): BrokersClient {
  const { environment, signer, operations, delegation } = context
  const { clock, random } = environment

  async function read(url: string, name: string): Promise<JoinedCircle> {
    const http = createHttpClient(environment, url)
    const get = <T>(path: string, shape: z.ZodType<T>): Promise<T> =>
      http.json({ method: 'GET', path, attempts: 1 }, shape)
    const profile = await get('/.well-known/raincheck', profileShape)
    await requireBound(profile)
    const { by, kind, revoked, circle } = await get(`/v1/sessions/${name}`, circleShape)
    if (by !== profile.id || circle !== name) throw new Problem('peer-failed', `${url} answered for another circle.`)
    const { key, operations: log, delegation: binds } = profile
    const since = revoked.map(({ member, since: sinceMs }) => ({ member, sinceMs }))
    const readMs = clock.now()
    return { isOwn: false, name, kind, revoked: since, url, by, key, operations: log, delegation: binds, readMs }
  }

  /** @throws Problem `unknown-key` unless the key acts for the id, by all that is known of its keys; `conflict` */
  async function requireBound({ id, key, operations: log, delegation: binds }: z.output<typeof profileShape>) {
    const state = await identityNow(
      context,
      log.map((one) => envelopeFromJson(one)),
    )
    if (toHex(state.id) !== id) throw new Problem('unknown-key', 'The operations are of another identity.')
    const delegated = authorityOf(state, fromHex(key, 32), envelopeFromJson(binds))
    if (delegated) requireInForce(delegated, clock.now())
  }

  async function ask({ url, name, by }: JoinedCircle): Promise<string> {
    const path = `/v1/sessions/${name}`
    const json = { operations: operations.map(envelopeToJson), delegation: envelopeToJson(delegation) }
    const request = new Request(url + path, {
      method: 'POST',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
    })
    const { headers } = await signRequest(request, {
      signer,
      audience: by,
      nowMs: clock.now(),
      nonce: toBase64url(random.bytes(NONCE_BYTES)),
    })
    const call = { method: 'POST', path, json, headers: Object.fromEntries(headers), attempts: 1 } as const
    return (await createHttpClient(environment, url).json(call, sessionShape)).session
  }

  return {
    read,
    ask,
    async validate({ url, name }, session) {
      const call = { method: 'POST', path: `/v1/sessions/${name}/validations`, json: { session }, attempts: 1 } as const
      await createHttpClient(environment, url).json(call, validShape)
    },
  }
}

export const isKeyOf = ({ key }: JoinedCircle, signed: Uint8Array): boolean => equal(fromHex(key), signed)
