/**
 * Where an agent may call. Other agents name their own URLs, so a URL is a stranger's word: it must not lead into the
 * machine, its network or its cloud's metadata. The address is resolved once, judged, and connected to as judged: a
 * name that resolves differently a moment later (DNS rebinding) gains nothing.
 */
import { BlockList, isIP } from 'node:net'
import { Problem } from '../protocol/problem.ts'

/** The IP addresses of a host name, as text. Rejects or gives none for an unknown name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>

export interface AddressRules {
  readonly resolve: Resolve
  /** The operator's word that this machine may be called, over http too. */
  readonly allowLoopback: boolean
}

type Family = 'ipv4' | 'ipv6'
type Net = readonly [address: string, prefix: number]

/** IANA's IPv4 special-purpose registry, what is not globally reachable; multicast; reserved. */
const REFUSED_IPV4: readonly Net[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  /** Azure's metadata and DNS, the one such service at a public address. */
  ['168.63.129.16', 32],
]
/** All other IPv6, mapped and translated IPv4 with it, is not global unicast (RFC 4291 §2.4). */
const GLOBAL_IPV6: Net = ['2000::', 3]
/** Special purpose, documentation, and 6to4, which carries an IPv4 address inside. */
const REFUSED_IPV6: readonly Net[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

const refusedIpv4 = blockList('ipv4', REFUSED_IPV4)
const globalIpv6 = blockList('ipv6', [GLOBAL_IPV6])
const refusedIpv6 = blockList('ipv6', REFUSED_IPV6)
const loopback = blockList('ipv4', [['127.0.0.0', 8]])

function blockList(family: Family, nets: readonly Net[]): BlockList {
  const list = new BlockList()
  for (const [address, prefix] of nets) list.addSubnet(address, prefix, family)
  return list
}

/**
 * The address to connect to for this URL. A name with addresses of both kinds gets the first that may be called.
 * @throws Problem `address-refused` | `peer-failed` when the name is unknown
 */
export async function pinAddress(url: URL, { resolve, allowLoopback }: AddressRules): Promise<string> {
  checkForm(url, allowLoopback)
  const addresses = await addressesOf(url.hostname, resolve)
  const allowed = addresses.find((address) => mayCall(address, url.protocol, allowLoopback))
  if (allowed === undefined) throw refused(`${url.hostname} is not at an address that may be called.`)
  return allowed
}

function checkForm(url: URL, allowLoopback: boolean): void {
  const secure = url.protocol === 'https:'
  if (!secure && !(url.protocol === 'http:' && allowLoopback)) throw refused('Only https addresses are called.')
  if (url.username || url.password) throw refused('An address does not carry a name or a password.')
}

/** `URL` has brought every notation of an IPv4 address (octal, hex, short) into four decimals, and IPv6 into brackets. */
async function addressesOf(hostname: string, resolve: Resolve): Promise<readonly string[]> {
  const literal = hostname.replace(/^\[(.*)\]$/, '$1')
  if (isIP(literal)) return [literal]
  const addresses = await resolve(hostname).catch(() => [])
  if (addresses.length === 0) throw new Problem('peer-failed', `${hostname} is an unknown name.`)
  return addresses
}

function mayCall(address: string, protocol: string, allowLoopback: boolean): boolean {
  if (isLoopback(address)) return allowLoopback
  return protocol === 'https:' && isPublicAddress(address)
}

/** Whether the whole Internet would reach the same machine by it. No mapped, scoped or translated form is. */
export function isPublicAddress(address: string): boolean {
  if (address.includes('%')) return false
  if (isIP(address) === 4) return !refusedIpv4.check(address, 'ipv4')
  return isIP(address) === 6 && globalIpv6.check(address, 'ipv6') && !refusedIpv6.check(address, 'ipv6')
}

const isLoopback = (address: string): boolean =>
  isIP(address) === 4 ? loopback.check(address, 'ipv4') : address === '::1'

const refused = (detail: string): Problem => new Problem('address-refused', detail)
