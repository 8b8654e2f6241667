/**
 * Where an agent may call. Other agents name their own URLs, so a URL is a stranger's word: it must not lead into the
 * machine, its network or its cloud's metadata. The address is resolved once, judged, and connected to as judged: a
 * name that resolves differently a moment later (DNS rebinding) gains nothing.
 */
import { isIP } from 'node:net'
import { isLoopbackAddress, isPublicAddress, type AddressRules } from '../../protocol/address.ts'
import { Problem } from '../../protocol/problem.ts'

/** The IP addresses of a host name, as text. Rejects or gives none for an unknown name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>

export interface PinRules extends AddressRules {
  readonly resolve: Resolve
}

/**
 * The address to connect to for this URL. A name with addresses of both kinds gets the first that may be called.
 * @throws Problem `address-refused` | `peer-failed` when the name is unknown
 */
export async function pinAddress(url: URL, { resolve, allowLoopback }: PinRules): Promise<string> {
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
  if (isLoopbackAddress(address)) return allowLoopback
  return protocol === 'https:' && isPublicAddress(address)
}

const refused = (detail: string): Problem => new Problem('address-refused', detail)
