/** The way to content of a circle: a session, shown by its holder, that is neither over nor taken back. */
import type { MiddlewareHandler } from 'hono'
import { equal, toHex } from '../../protocol/bytes.ts'
import { verifyRequest, type VerifiedRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { wire } from '../../protocol/service.ts'
import { parseSession, readSession, requireTime, SESSION_HEADER, type Session } from '../../protocol/session.ts'
import { createNonces } from '../api/nonces.ts'
import type { AgentContext } from '../context.ts'
import { requireUnrevoked, type Broker } from './broker.ts'
import { isKeyOf, type BrokersClient } from './brokers-client.ts'
import type { Circle, CircleRecords, JoinedCircle } from './records.ts'

export interface Gate {
  /**
   * For what is limited to a circle, by its name here.
   * @throws Problem `session-required` (members `by`, `circle`) for none, `forbidden` for one of another circle or taken back,
   *   `expired`, `unknown-key` when another than its holder shows it, `bad-signature`, `stale-request`, `peer-failed` when the
   *   broker of an inner circle does not answer, or that of any circle has not for as long as a session lasts
   */
  admit(request: Request, name: string): Promise<Session>
  /** @param circleOf the circle of a content, by its info hash; undefined where anybody may have it */
  middleware(circleOf: (infoHash: string) => Promise<string | undefined>): MiddlewareHandler
  sweep(): Promise<void>
}

export interface GateParts {
  readonly records: CircleRecords
  readonly broker: Broker
  readonly brokers: BrokersClient
  /** Asks the broker about its circle again. */
  readonly reread: (circle: JoinedCircle) => Promise<JoinedCircle>
}

const VALIDATED_MOST = 4096

export function createGate(context: AgentContext, { records, broker, brokers, reread }: GateParts): Gate {
  const { clock } = context.environment
  const nonces = createNonces(context, 'session-nonce')
  const authorities = [new URL(context.publicUrl).host]
  /** When a circle was last asked about, whether or not its broker answered. */
  const tried = new Map<string, number>()
  /** Until when a session of an inner circle is taken for one that holds. */
  const validated = new Map<string, number>()

  async function admit(request: Request, name: string): Promise<Session> {
    const circle = await records.get(name)
    const text = request.headers.get(SESSION_HEADER)
    if (!circle || text === null) throw required(context, name, circle)
    const session = parseSession(readSession(text))
    if (toHex(session.by) !== brokerOf(context, circle) || session.circle !== circle.name)
      throw new Problem('forbidden', 'The session is of another circle.')
    requireTime(session, clock.now())
    // Only what a broker signed is worth asking about, or keeping a note of.
    const joined = circle.isOwn ? undefined : await signerOf(circle, session)
    const verified = await holderOf(request, session)
    if (!joined) await broker.validate(name, text)
    else if (joined.kind === 'inner') await requireValid(joined, text)
    else requireUnrevoked(joined.revoked, session)
    await nonces.take(verified)
    return session
  }

  /** Whoever read the session on its way has not the key. */
  async function holderOf(request: Request, { holder }: Session): Promise<VerifiedRequest> {
    const verified = await verifyRequest(request, { authorities, audience: toHex(context.owner), nowMs: clock.now() })
    if (!equal(verified.key, holder))
      throw new Problem('unknown-key', 'The session was given to another key than the one that signed the request.')
    return verified
  }

  /** The circle, whose broker may have another key by now than when it was last asked. */
  async function signerOf(circle: JoinedCircle, session: Session): Promise<JoinedCircle> {
    const known = await askedAgain(circle)
    if (!isKeyOf(known, session.key))
      throw new Problem('forbidden', 'The session is not signed by the circle’s broker.')
    // Who is no broker any more goes on signing.
    if (clock.now() - known.readMs >= limits.sessionMs)
      throw new Problem('peer-failed', 'The circle’s broker has not been heard of for longer than a session lasts.')
    return known
  }

  async function askedAgain(circle: JoinedCircle): Promise<JoinedCircle> {
    const nowMs = clock.now()
    const triedMs = Math.max(circle.readMs, tried.get(circle.name) ?? 0)
    if (nowMs - triedMs < limits.revocationsMs) return circle
    tried.set(circle.name, nowMs)
    return (await reread(circle).catch(unlessBug)) ?? circle
  }

  async function requireValid(circle: JoinedCircle, text: string): Promise<void> {
    const nowMs = clock.now()
    if (nowMs < (validated.get(text) ?? 0)) return
    await brokers.validate(circle, text)
    validated.delete(text)
    if (validated.size >= VALIDATED_MOST) validated.delete(validated.keys().next().value as string)
    validated.set(text, nowMs + limits.verdictMs)
  }

  return {
    admit,
    middleware: (circleOf) => async (c, next) => {
      // What is no info hash is refused by the route.
      const { success, data } = wire.infoHash.safeParse(c.req.param('infoHash'))
      const name = success ? await circleOf(data) : undefined
      if (name !== undefined) await admit(c.req.raw, name)
      await next()
    },
    sweep: () => nonces.sweep(),
  }
}

const brokerOf = ({ owner }: AgentContext, circle: Circle): string => (circle.isOwn ? toHex(owner) : circle.by)

/** What was limited to a circle that is no more stays so. */
function required(context: AgentContext, name: string, circle: Circle | undefined): Problem {
  const where = circle && { by: brokerOf(context, circle), circle: name }
  return new Problem('session-required', 'This is for members of a circle: show a session.', where)
}
