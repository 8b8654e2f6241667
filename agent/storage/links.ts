/** The storages that the owner has linked, by name. The first one linked is where things go unless told otherwise. */
import { realpath } from 'node:fs/promises'
import { isAbsolute, relative, sep } from 'node:path'
import { removeAll } from '../../protocol/items.ts'
import { Problem, problemOf, unlessBug, type ProblemCode } from '../../protocol/problem.ts'
import type { Item } from '../../protocol/store.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { openStorage, type DriverContext, type LinkSettings, type StorageKind } from './open.ts'
import { within } from './provider-call.ts'
import { PROVIDER_HOSTS, type ProviderHosts } from './providers.ts'
import { revokeGrant, type Grant } from './revoke.ts'
import type { LinkSecret, Secrets } from './secrets.ts'
import type { Quota, Storage } from './storage.ts'

export interface LinkInfo {
  readonly name: string
  readonly kind: StorageKind
  /** A folder's path, a bucket and its prefix, a drive's folder where one was named. */
  readonly place?: string
  readonly quota?: Quota
  /** Why it cannot be used now: a problem's code, and a sentence. */
  readonly reason?: ProblemCode
  readonly detail?: string
}

export interface LinkExtras {
  /** Default: the kind, with a number where that is taken. */
  readonly name?: string | undefined
  readonly secret?: LinkSecret | undefined
}

export type LinkOptions<K extends StorageKind> = LinkSettings[K] & LinkExtras

export interface Removed {
  /** Whether its grant was, where it had one of its own. */
  readonly revoked?: boolean
}

export interface OpenLink {
  readonly name: string
  readonly storage: Storage
}

export interface Links {
  /**
   * The same place linked again is answered with the link that is there, which takes the new secret, if one is given.
   * @throws Problem `not-found` for a place that does not exist, `conflict` for a name that is another place's,
   *   `storage-denied`, `bad-request`; `forbidden` for a folder with the owner's keys in it
   */
  add<K extends StorageKind>(kind: K, options: LinkOptions<K>): Promise<LinkInfo>
  /** In the order in which they were linked. */
  list(): Promise<readonly LinkInfo[]>
  /**
   * Touches nothing in the storage. Its grant is revoked where the provider can be reached, and no other link lives by it.
   * @throws Problem `not-found`
   */
  remove(name: string): Promise<Removed>
  /** @param name default: the first. @throws Problem `not-found`, `storage-unavailable`, `storage-denied` */
  open(name?: string): Promise<OpenLink>
  /** Lets go of every open storage; they open again when they are needed. */
  close(): Promise<void>
}

/** How links get in where a secret is asked for. */
export interface LinkAccess {
  /** Without it no link that has a secret can be made. */
  readonly secrets?: Secrets
  readonly hosts?: ProviderHosts
  /** Folders of this machine with keys in them. */
  readonly keyFolders?: readonly string[]
}

interface LinkRecord {
  readonly kind: StorageKind
  readonly options: LinkSettings[StorageKind]
  /** A LinkSecret as JSON. */
  readonly sealed?: string
  /** Rises with each link. */
  readonly order: number
}

interface NamedLink extends LinkRecord {
  readonly name: string
}

const PK = 'link'
const MOST_LINKS = 100
const QUOTA_MS = 5_000
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i

export function createLinks(
  { store, environment }: Pick<AgentContext, 'store' | 'environment'>,
  { secrets = NO_SECRETS, hosts = PROVIDER_HOSTS, keyFolders = [] }: LinkAccess = {},
): Links {
  const opened = new Map<string, Promise<Storage>>()

  async function records(): Promise<readonly NamedLink[]> {
    const items = await store.list(PK, { limit: MOST_LINKS })
    return items.map(linkIn).toSorted((a, b) => a.order - b.order)
  }

  async function add<K extends StorageKind>(kind: K, { name, secret, ...rest }: LinkOptions<K>): Promise<LinkInfo> {
    const options = rest as unknown as LinkSettings[K]
    await tryOut(kind, options, secret)
    if ('path' in options) await refuseKeys(options.path, keyFolders)
    const links = await records()
    const chosen = name ?? freeName(kind, links)
    const same = links.find((link) => isPlace(link, kind, options) && (name === undefined || link.name === name))
    if (same) return renew(same, secret)
    if (!NAME.test(chosen)) throw new Problem('bad-request', 'A link is named with letters, digits, ".", "_" or "-".')
    if (links.length >= MOST_LINKS) throw new Problem('limit-reached', `An agent has at most ${MOST_LINKS} links.`)
    const sealed = secret && (await secrets.seal(chosen, JSON.stringify(secret)))
    const order = (links.at(-1)?.order ?? 0) + 1
    const link: LinkRecord = { kind, options, order, ...(sealed !== undefined && { sealed }) }
    const added = await store.write([{ pk: PK, sk: chosen, expect: 0, body: encodeRecord(link) }])
    if (!added) throw new Problem('conflict', `Another storage is linked as ${JSON.stringify(chosen)}.`)
    return infoOf({ name: chosen, ...link })
  }

  /** Looks in, so that a place that does not let us in is told now and not by the first download. */
  async function tryOut<K extends StorageKind>(kind: K, options: LinkSettings[K], secret?: LinkSecret): Promise<void> {
    const access = { secret: () => Promise.resolve(secret), renewSecret: () => Promise.resolve(true), secrets }
    const storage = await openStorage(kind, options, { environment, store, hosts, ...access })
    try {
      await storage.quota()
    } finally {
      await storage.close()
    }
  }

  async function renew({ name }: NamedLink, secret: LinkSecret | undefined): Promise<LinkInfo> {
    if (secret) {
      await keepSecret(name, secret)
      await forget(name)
    }
    return infoOf((await find(name)) ?? notLinked(name))
  }

  /** @returns false when the record changed meanwhile */
  async function keepSecret(name: string, secret: LinkSecret): Promise<boolean> {
    const item = await store.get(PK, name)
    if (!item) return notLinked(name)
    const sealed = await secrets.seal(name, JSON.stringify(secret))
    const body = encodeRecord({ ...decodeRecord<LinkRecord>(item), sealed })
    return store.write([{ pk: PK, sk: name, expect: item.version, body }])
  }

  /** A storage that does not answer soon is listed with the reason in place of its quota. */
  async function infoOf({ name, kind, options }: NamedLink): Promise<LinkInfo> {
    const place = placeIn(options)
    const info = { name, kind, ...(place !== undefined && { place }) }
    const ask = async (): Promise<Quota | undefined> => (await open(name)).storage.quota()
    try {
      const quota = await within(environment.clock, name, QUOTA_MS, ask)
      return { ...info, ...(quota && { quota }) }
    } catch (error) {
      const { code, message } = problemOf(error)
      return { ...info, reason: code, detail: message }
    }
  }

  async function find(name?: string): Promise<NamedLink | undefined> {
    if (name === undefined) return (await records())[0]
    // Each piece that is served comes by here.
    const item = NAME.test(name) ? await store.get(PK, name) : undefined
    return item && linkIn(item)
  }

  async function open(name?: string): Promise<OpenLink> {
    const link = (await find(name)) ?? notLinked(name)
    const storage = opened.get(link.name) ?? openLinked(link)
    opened.set(link.name, storage)
    storage.catch(() => opened.delete(link.name))
    return { name: link.name, storage: await storage }
  }

  const openLinked = ({ name, kind, options }: NamedLink): Promise<Storage> =>
    openStorage(kind, options, contextOf(name)).catch((error: unknown) => {
      if (!(error instanceof Problem && error.code === 'not-found')) throw error
      throw new Problem('storage-unavailable', error.message)
    })

  const contextOf = (link: string): DriverContext => ({
    environment,
    store,
    hosts,
    link,
    secret: () => secretOf(link),
    renewSecret: (secret) => keepSecret(link, secret),
    secrets,
  })

  async function remove(name: string): Promise<Removed> {
    const link = (await find(name)) ?? notLinked(name)
    const grant = await grantOf(link)
    const item = await store.get(PK, name)
    if (!item || !(await store.write([{ pk: PK, sk: name, expect: item.version }]))) notLinked(name)
    await forget(name)
    await removeAll(store, `${link.kind}/${name}`)
    return grant ? { revoked: await revokeGrant(environment, hosts, grant) } : {}
  }

  /** What OAuth gave to this link alone. */
  async function grantOf(link: NamedLink): Promise<Grant | undefined> {
    const { name, kind, sealed } = link
    if ((kind !== 'drive' && kind !== 'dropbox') || sealed === undefined) return undefined
    const secret = await secretOf(name).catch(unlessBug)
    if (!secret) return undefined
    const grant = { kind, clientId: clientOf(link), secret }
    const others = (await records()).filter((other) => other.kind === kind && other.name !== name)
    const shared = await Promise.all(others.map((other) => livesBy(other, name, grant)))
    return shared.includes(true) ? undefined : grant
  }

  /** At Google a token that is revoked takes with it all that its account has granted to the client. */
  async function livesBy(other: NamedLink, name: string, { kind, clientId, secret }: Grant): Promise<boolean> {
    const theirs = await secretOf(other.name).catch(unlessBug)
    if (theirs?.['refreshToken'] === secret['refreshToken']) return true
    if (kind !== 'drive' || clientOf(other) !== clientId) return false
    const [one, another] = await Promise.all([accountOf(name), accountOf(other.name)])
    return one === undefined || another === undefined || one === another
  }

  const accountOf = (name: string): Promise<string | undefined> =>
    within(environment.clock, name, QUOTA_MS, async () => (await open(name)).storage.account?.()).catch(unlessBug)

  async function secretOf(link: string): Promise<LinkSecret | undefined> {
    const sealed = (await find(link))?.sealed
    return sealed === undefined ? undefined : (JSON.parse(await secrets.open(link, sealed)) as LinkSecret)
  }

  async function forget(name: string): Promise<void> {
    const storage = opened.get(name)
    opened.delete(name)
    await storage?.then((open) => open.close()).catch(() => undefined)
  }

  return {
    add,
    list: async () => Promise.all((await records()).map(infoOf)),
    remove,
    open,
    async close() {
      await Promise.all(Array.from(opened.keys(), forget))
    },
  }
}

/** What is linked can be shared by its path, and read by whoever may look into the storage. */
async function refuseKeys(path: string, keyFolders: readonly string[]): Promise<void> {
  const root = await realpath(path)
  for (const folder of keyFolders) {
    const way = relative(root, await realpath(folder).catch(() => folder))
    if (isAbsolute(way) || way.split(sep, 1)[0] === '..') continue
    throw new Problem(
      'forbidden',
      `Your keys are in ${folder}: link a folder beside or below it, which does not hold them.`,
    )
  }
}

const refuseSecrets = (): never => {
  throw new Problem('forbidden', 'This agent has no key to keep a secret under.')
}
/** Of an agent without a key. */
export const NO_SECRETS: Secrets = { seal: async () => refuseSecrets(), open: async () => refuseSecrets() }

const linkIn = (item: Item): NamedLink => ({ name: item.sk, ...decodeRecord<LinkRecord>(item) })

const isPlace = (link: LinkRecord, kind: StorageKind, options: object): boolean =>
  link.kind === kind && membersOf(link.options) === membersOf(options)

function placeIn(settings: LinkSettings[StorageKind]): string | undefined {
  if ('path' in settings) return settings.path
  if ('bucket' in settings) return [settings.bucket, settings.prefix ?? []].flat().join('/')
  return settings.folder
}

function clientOf({ options }: LinkRecord): string {
  const { clientId = '', appKey = clientId } = options as { clientId?: string; appKey?: string }
  return appKey
}

/** Settings are flat. */
const membersOf = (settings: object): string =>
  JSON.stringify(Object.entries(settings).toSorted(([a], [b]) => (a < b ? -1 : 1)))

function freeName(kind: StorageKind, links: readonly NamedLink[]): string {
  const taken = new Set(links.map(({ name }) => name))
  for (let number = 1; ; number++) {
    const name = number === 1 ? kind : `${kind}-${number}`
    if (!taken.has(name)) return name
  }
}

function notLinked(name: string | undefined): never {
  throw new Problem('not-found', `No storage is linked ${name === undefined ? 'yet' : `as ${JSON.stringify(name)}`}.`)
}
