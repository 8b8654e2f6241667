/** The world of an agent, as each entry point puts it together. */
import { lookup } from 'node:dns/promises'
import { pinAddress, type Resolve } from '../agent/clients/address-guard.ts'
import type { ProviderHosts } from '../agent/storage/providers.ts'
import type { Environment } from '../protocol/environment.ts'
import { guardedTransport } from './pinned-transport.ts'

/** Of its store: a power cut may cost the last seconds, which the bytes in the storage then outlive; a sync for each piece costs more. */
export const KEPT_THROUGH_KILLS = { synchronous: 'normal' } as const

export interface AgentWorldOptions {
  readonly real: Environment
  /** URLs that its operator chose. */
  readonly services: readonly string[]
  readonly hosts: ProviderHosts
  readonly allowLoopback: boolean
}

export interface AgentWorld {
  readonly environment: Environment
  /** The address to connect to for a stranger's URL. @throws Problem `address-refused` | `peer-failed` */
  readonly pin: (url: URL) => Promise<string>
}

export function agentWorld({ real, services, hosts, allowLoopback }: AgentWorldOptions): AgentWorld {
  const pin = (url: URL): Promise<string> => pinAddress(url, { resolve: systemResolve, allowLoopback })
  const transport = guardedTransport([...services, ...Object.values(hosts)], pin, real.transport)
  return { environment: { ...real, transport }, pin }
}

/** What the system's resolver says, in its order. */
const systemResolve: Resolve = async (hostname) => (await lookup(hostname, { all: true })).map(({ address }) => address)
