/** The broker of the owner's own circles: who is in, sessions for those, and whether a session still holds. */
import { authorityOf } from '../../protocol/authority.ts'
import { equal, toHex, type Bytes } from '../../protocol/bytes.ts'
import { requireInForce } from '../../protocol/delegation.ts'
import { replay, type IdentityState } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import {
  grantSession,
  parseSession,
  readSession,
  requireTime,
  type CircleKind,
  type Session,
} from '../../protocol/session.ts'
import type { Envelope } from '../../protocol/signed.ts'
import type { AgentContext } from '../context.ts'
import { identityNow } from './identity-now.ts'
import type { CircleRecords, OwnCircle, Revoked } from './records.ts'

export interface CircleChange {
  readonly kind?: CircleKind | undefined
  /** Owners' ids, hex. */
  readonly add?: readonly string[] | undefined
  readonly remove?: readonly string[] | undefined
}

/** Who asks for a session: the key that signed the request, and what binds it to an owner. */
export interface Applicant {
  readonly key: Bytes
  readonly operations: readonly Envelope[]
  readonly delegation?: Envelope | undefined
}

export interface Broker {
  /** Makes the circle where there is none. @throws Problem `conflict` for one of another's that was joined, `limit-reached` */
  change(name: string, change: CircleChange): Promise<OwnCircle>
  /** @throws Problem `not-found` */
  own(name: string): Promise<OwnCircle>
  /**
   * @throws Problem `not-found`, `forbidden` for who is no member, `unknown-key`, `delegation-exceeded`, those of `replay`,
   *   `conflict` among them for operations that the repository knows to be undone
   */
  grant(name: string, applicant: Applicant): Promise<Envelope>
  /** Whether a session of ours holds now. @throws Problem `forbidden`, `expired`, `not-found`, and those of `parseSession` */
  validate(name: string, text: string): Promise<Session>
}

const NONCE_BYTES = 16

export function createBroker(context: AgentContext, records: CircleRecords): Broker {
  const { environment, owner, signer } = context
  const { clock, random } = environment

  async function own(name: string): Promise<OwnCircle> {
    const circle = await records.get(name)
    if (!circle?.isOwn) throw new Problem('not-found', 'There is no circle of this name here.')
    return circle
  }

  const change = (name: string, { kind, add = [], remove = [] }: CircleChange): Promise<OwnCircle> =>
    records.change(name, (before) => {
      if (before && !before.isOwn)
        throw new Problem('conflict', 'You are a member of another owner’s circle of this name: leave it first.')
      const nowMs = clock.now()
      const out = new Set(remove)
      const members = new Set([...(before?.members ?? []), ...add].filter((id) => !out.has(id)))
      if (members.size > limits.membersPerCircle)
        throw new Problem('limit-reached', `A circle has up to ${limits.membersPerCircle} members.`)
      const recent = (before?.revoked ?? []).filter(({ sinceMs }) => nowMs - sinceMs <= limits.sessionMs)
      const gone = (before?.members ?? []).filter((id) => !members.has(id))
      return {
        isOwn: true,
        name,
        kind: kind ?? before?.kind ?? 'inner',
        members: [...members],
        revoked: [
          ...recent.filter(({ member }) => !gone.includes(member)),
          ...gone.map((member) => ({ member, sinceMs: nowMs })),
        ],
      }
    })

  /** @throws Problem `unknown-key`, `delegation-exceeded` */
  function requireActs(state: IdentityState, { key, delegation }: Applicant): void {
    const delegated = authorityOf(state, key, delegation)
    if (delegated) requireInForce(delegated, clock.now())
  }

  async function grant(name: string, applicant: Applicant): Promise<Envelope> {
    const circle = await own(name)
    const nowMs = clock.now()
    const state = replay(applicant.operations, nowMs)
    requireActs(state, applicant)
    // Nobody else learns who is of it, nor has anybody asked.
    requireMember(context, circle, toHex(state.id))
    requireActs(await identityNow(context, applicant.operations), applicant)
    const times = { issued: nowMs, expires: nowMs + limits.sessionMs }
    const nonce = random.bytes(NONCE_BYTES)
    return grantSession({ by: owner, circle: name, holder: applicant.key, member: state.id, nonce, ...times }, signer)
  }

  async function validate(name: string, text: string): Promise<Session> {
    const session = parseSession(readSession(text))
    const isOurs = equal(session.by, owner) && equal(session.key, signer.key) && session.circle === name
    if (!isOurs) throw new Problem('forbidden', 'The session is of another circle.')
    const circle = await own(name)
    requireTime(session, clock.now())
    requireMember(context, circle, toHex(session.member))
    requireUnrevoked(circle.revoked, session)
    return session
  }

  return { change, own, grant, validate }
}

/** The owner is of each of their circles. */
function requireMember({ owner }: AgentContext, { members }: OwnCircle, id: string): void {
  if (id !== toHex(owner) && !members.includes(id))
    throw new Problem('forbidden', 'This owner is not a member of the circle.')
}

/** @throws Problem `forbidden` for a session of before its member was taken out */
export function requireUnrevoked(revoked: readonly Revoked[], { member, issued }: Session): void {
  const id = toHex(member)
  if (revoked.some((one) => one.member === id && issued <= one.sinceMs))
    throw new Problem('forbidden', 'The session was taken back.')
}
