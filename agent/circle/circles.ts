/** Circles of owners, and sessions in them: the owner's own, those that it has joined, and what members are let in for. */
import { toBase64url, toHex } from '../../protocol/bytes.ts'
import { checkUrl } from '../../protocol/address.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { formatSession, isCircleName, parseSession, readSession, SESSION_HEADER } from '../../protocol/session.ts'
import type { AgentContext } from '../context.ts'
import { createBroker, type Broker, type CircleChange } from './broker.ts'
import { createBrokersClient } from './brokers-client.ts'
import { createGate, type Gate } from './gate.ts'
import { createCircleRecords, type Circle, type JoinedCircle, type OwnCircle } from './records.ts'

/** A circle as its members name it to each other. */
export interface CircleRef {
  /** The broker's id, hex. */
  readonly by: string
  readonly circle: string
}

export interface Passes {
  /**
   * The headers that let a request in: our session, and the signature of its holder. For one request.
   * @param audience the id of who is asked, hex
   * @throws Problem `session-required` when the owner is in no such circle, and those of the broker
   */
  pass(circle: CircleRef, url: string, audience: string): Promise<Record<string, string>>
}

export interface Circles extends Passes {
  readonly broker: Pick<Broker, 'own' | 'grant' | 'validate'>
  readonly gate: Gate
  list(): Promise<readonly Circle[]>
  /** @throws Problem `not-found` */
  require(name: string): Promise<Circle>
  /** Makes or changes a circle of the owner's own. @throws Problem `bad-request`, `conflict`, `limit-reached` */
  change(name: string, change: CircleChange): Promise<OwnCircle>
  /** @param url of the broker's agent. @throws Problem `conflict`, `limit-reached`, `address-refused`, and what the broker says */
  join(name: string, url: string): Promise<JoinedCircle>
  /** Ends a circle of the owner's own, or leaves another's. @throws Problem `not-found` */
  remove(name: string): Promise<void>
  /** Bubbles ask who was taken out. */
  maintain(): Promise<void>
}

const NONCE_BYTES = 16

export function createCircles(context: AgentContext): Circles {
  const { environment, owner, signer, operations, delegation, store, allowLoopback } = context
  const { clock, random } = environment
  const records = createCircleRecords(store)
  const broker = createBroker(context, records)
  const brokers = createBrokersClient(context)
  /** Our sessions by broker and circle. */
  const held = new Map<string, { readonly text: string; readonly expires: number }>()

  async function reread({ url, name, by }: JoinedCircle): Promise<JoinedCircle> {
    const read = await brokers.read(url, name)
    if (read.by !== by) throw new Problem('peer-failed', `Another owner’s agent answers at ${url}.`)
    return records.change(name, (before) => (before?.isOwn === false && before.by === by ? read : gone()))
  }

  const gate = createGate(context, { records, broker, brokers, reread })

  async function join(name: string, given: string): Promise<JoinedCircle> {
    requireName(name)
    const url = given.replace(/\/+$/, '')
    checkUrl(url, { allowLoopback })
    const read = await brokers.read(url, name)
    return records.change(name, (before) => {
      if (before && (before.isOwn || before.by !== read.by))
        throw new Problem('conflict', 'There is another circle of this name: leave or end it first.')
      return read
    })
  }

  async function sessionIn({ by, circle: name }: CircleRef): Promise<string> {
    const key = `${by}/${name}`
    const known = held.get(key)
    if (known && clock.now() + limits.sessionRenewedMs < known.expires) return known.text
    const circle = await records.get(name)
    const isThat = circle && (circle.isOwn ? toHex(owner) : circle.by) === by
    if (!isThat) throw new Problem('session-required', 'The owner has joined no such circle.', { by, circle: name })
    const applicant = { key: signer.key, operations, delegation }
    const text = circle.isOwn ? formatSession(await broker.grant(name, applicant)) : await brokers.ask(circle)
    held.set(key, { text, expires: parseSession(readSession(text)).expires })
    return text
  }

  return {
    broker,
    gate,
    list: () => records.list(),
    async require(name) {
      const circle = await records.get(name)
      if (!circle) throw new Problem('not-found', 'There is no circle of this name here.')
      return circle
    },
    async change(name, change) {
      requireName(name)
      return broker.change(name, change)
    },
    join,
    remove: (name) => records.remove(name),
    async pass(circle, url, audience) {
      const headers = { [SESSION_HEADER]: await sessionIn(circle) }
      const nonce = toBase64url(random.bytes(NONCE_BYTES))
      const signed = await signRequest(new Request(url, { headers }), { signer, audience, nowMs: clock.now(), nonce })
      return Object.fromEntries(signed.headers)
    },
    async maintain() {
      await gate.sweep()
      for (const circle of await records.list()) {
        const isDue = !circle.isOwn && clock.now() - circle.readMs >= limits.revocationsMs
        if (isDue) await reread(circle).catch(unlessBug)
      }
    },
  }
}

function requireName(name: string): void {
  if (isCircleName(name)) return
  throw new Problem(
    'bad-request',
    'The name of a circle is 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -.',
  )
}

function gone(): never {
  throw new Problem('not-found', 'The circle was left meanwhile.')
}
