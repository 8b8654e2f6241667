/** Loaded before every test: a connection to any host but this machine fails, and says so. */
import { Socket } from 'node:net'

const LOOPBACK =
  /^(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|::1|::ffff:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|.+\.localhost)$/

type Connect = (this: Socket, ...args: unknown[]) => Socket

/** Of the forms of `connect`: options, a port and a host, a path; Node itself hands on an array of the first. */
export function hostOf(args: readonly unknown[]): string {
  const [first, second] = Array.isArray(args[0]) ? (args[0] as readonly unknown[]) : args
  if (typeof first === 'object' && first !== null) {
    const { host, path } = first as { host?: unknown; path?: unknown }
    return typeof host === 'string' && typeof path !== 'string' ? host : 'localhost'
  }
  return typeof second === 'string' ? second : 'localhost'
}

export const mayConnect = (host: string): boolean => LOOPBACK.test(host.toLowerCase())

type Found = string | readonly { readonly address: string }[]
type Lookup = (
  host: string,
  options: object,
  done: (error: Error | null, found?: Found, family?: number) => void,
) => void

/** Of a call that resolves names by itself, what it resolves them to counts. */
function lookupOf(args: readonly unknown[]): { lookup?: Lookup } | undefined {
  const [first] = Array.isArray(args[0]) ? (args[0] as readonly unknown[]) : args
  const options = typeof first === 'object' && first !== null ? (first as { lookup?: Lookup }) : undefined
  return options?.lookup ? options : undefined
}

const guardedLookup =
  (lookup: Lookup): Lookup =>
  (host, options, done) =>
    lookup(host, options, (error, found, family) => {
      const addresses = typeof found === 'string' ? [found] : (found ?? []).map(({ address }) => address)
      const isHere = addresses.every((address) => mayConnect(address))
      done(error ?? (isHere ? null : refusal(host)), found, family)
    })

const refusal = (host: string): Error => new Error(`A test reached for ${host}: tests talk to this machine alone.`)

const sockets = Socket.prototype as unknown as { connect: Connect; unguarded?: Connect }

// Loaded anew for each file, also where files share a process.
const connect = (sockets.unguarded ??= sockets.connect)

sockets.connect = function guarded(...args) {
  const host = hostOf(args)
  if (mayConnect(host)) return connect.apply(this, args)
  const own = lookupOf(args)
  if (own?.lookup) {
    own.lookup = guardedLookup(own.lookup)
    return connect.apply(this, args)
  }
  queueMicrotask(() => this.destroy(refusal(host)))
  return this
}
