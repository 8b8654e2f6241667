/**
 * What a URL from a stranger may name: a public https address, or this machine where the operator allows it. Pure: names
 * are judged by their form alone, and whoever calls such a URL judges the address that the name resolves to as well.
 */
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

export interface AddressRules {
  /** The operator's word that loopback addresses may be named, over http too. */
  readonly allowLoopback: boolean
}

/** IANA's special-purpose registries, what is not globally reachable; multicast; reserved. */
const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  /** Azure's metadata and DNS, the one such service at a public address. */
  '168.63.129.16/32',
].map(netOf)
/** All other IPv6, mapped and translated IPv4 with it, is not global unicast (RFC 4291 §2.4). */
const GLOBAL_IPV6 = netOf('2000::/3')
const SPECIAL_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'].map(netOf)
const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(netOf)
/** Never delegated in the public DNS (RFC 6761, RFC 6762, RFC 8375; `.internal` by ICANN). */
const PRIVATE_NAME = /(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|test|invalid|onion)\.?$/
const LOCAL_NAME = /(^|\.)localhost\.?$/

/**
 * @returns the URL, parsed
 * @throws Problem `bad-request` for what is no http(s) URL or has credentials, a query or a fragment; `too-large`;
 *   `address-refused`
 */
export function checkUrl(text: string, { allowLoopback }: AddressRules): URL {
  const url = parseUrl(text)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (isLoopbackHost(host)) {
    if (!allowLoopback)
      throw new Problem('address-refused', `${host} is a loopback address, which is not allowed here.`)
    return url
  }
  if (url.protocol !== 'https:') throw new Problem('address-refused', 'A public address is https.')
  if (!isPublicHost(host)) throw new Problem('address-refused', `${host} is not a public address.`)
  return url
}

/** The form alone. @throws Problem `bad-request`, `too-large` */
export function parseUrl(text: string): URL {
  if (text.length > limits.urlBytes) throw new Problem('too-large', `A URL has at most ${limits.urlBytes} bytes.`)
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol)) throw new Problem('bad-request', 'The address is no http or https URL.')
  if (url.username || url.password) throw new Problem('bad-request', 'A URL carries no name and no password.')
  if (/[?#]/.test(text)) throw new Problem('bad-request', 'The URL has a query or a fragment.')
  return url
}

/** Whether the whole Internet would reach the same machine by this IP address. */
export function isPublicAddress(address: string): boolean {
  const bits = parseAddress(address)
  if (!bits) return false
  if (bits.width === 32) return !SPECIAL_IPV4.some((net) => contains(net, bits))
  return contains(GLOBAL_IPV6, bits) && !SPECIAL_IPV6.some((net) => contains(net, bits))
}

export function isLoopbackAddress(address: string): boolean {
  const bits = parseAddress(address)
  return bits !== undefined && LOOPBACK.some((net) => contains(net, bits))
}

const isLoopbackHost = (host: string): boolean => LOCAL_NAME.test(host) || isLoopbackAddress(host)

function isPublicHost(host: string): boolean {
  if (parseAddress(host)) return isPublicAddress(host)
  return host.includes('.') && !PRIVATE_NAME.test(host)
}

interface Bits {
  readonly value: bigint
  readonly width: 32 | 128
}
interface Net extends Bits {
  readonly prefix: number
}

function netOf(text: string): Net {
  const [address = '', prefix] = text.split('/')
  const bits = parseAddress(address)
  if (!bits) throw new RangeError(`${text} is no network`)
  return { ...bits, prefix: Number(prefix) }
}

function contains(net: Net, address: Bits): boolean {
  const host = BigInt(net.width - net.prefix)
  return net.width === address.width && net.value >> host === address.value >> host
}

/** Four decimals or IPv6, in the forms that `URL` brings every other notation into. */
function parseAddress(text: string): Bits | undefined {
  const v4 = parseIpv4(text)
  if (v4 !== undefined) return { value: v4, width: 32 }
  const v6 = text.includes(':') ? parseIpv6(text) : undefined
  return v6 === undefined ? undefined : { value: v6, width: 128 }
}

function parseIpv4(text: string): bigint | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined
  const parts = text.split('.').map(BigInt)
  return parts.every((part) => part <= 255n) ? join(parts, 8n) : undefined
}

function parseIpv6(text: string): bigint | undefined {
  const [head = '', tail, ...rest] = withoutIpv4(text).split('::')
  const left = groupsOf(head)
  const right = tail === undefined ? [] : groupsOf(tail)
  if (!left || !right || rest.length > 0) return undefined
  const missing = 8 - left.length - right.length
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  return join([...left, ...Array.from({ length: missing }, () => 0n), ...right], 16n)
}

/** The last 32 bits may be written as IPv4 (RFC 4291 §2.2). */
function withoutIpv4(text: string): string {
  const dotted = /[^:]*$/.exec(text)?.[0] ?? ''
  const value = parseIpv4(dotted)
  if (value === undefined) return text
  return `${text.slice(0, -dotted.length)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
}

function groupsOf(text: string): bigint[] | undefined {
  if (text === '') return []
  const groups = text.split(':')
  return groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))
    ? groups.map((group) => BigInt(`0x${group}`))
    : undefined
}

function join(parts: readonly bigint[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | part, 0n)
}
