/** The storages that the owner has linked, by name. The first one linked is where things go unless told otherwise. */
import { Problem } from '../../protocol/problem.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'
import { openStorage, type FolderOptions, type StorageKind } from './open.ts'
import type { Quota, Storage } from './storage.ts'

export interface LinkInfo {
  readonly name: string
  readonly kind: StorageKind
  readonly quota?: Quota
}

export interface LinkOptions extends FolderOptions {
  /** Default: the kind, with a number where that is taken. */
  readonly name?: string
}

export interface OpenLink {
  readonly name: string
  readonly storage: Storage
}

export interface Links {
  /**
   * The same place linked again is answered with the link that is there.
   * @throws Problem `not-found` for a folder that does not exist, `conflict` for a name that is another place's, `bad-request`
   */
  add(kind: StorageKind, options: LinkOptions): Promise<LinkInfo>
  /** In the order in which they were linked. */
  list(): Promise<readonly LinkInfo[]>
  /** Touches nothing in the storage. @throws Problem `not-found` */
  remove(name: string): Promise<void>
  /** @param name default: the first. @throws Problem `not-found`, `storage-unavailable` */
  open(name?: string): Promise<OpenLink>
  /** Lets go of every open storage; they open again when they are needed. */
  close(): Promise<void>
}

interface LinkRecord {
  readonly kind: StorageKind
  readonly options: FolderOptions
  /** Rises with each link. */
  readonly order: number
}

interface NamedLink extends LinkRecord {
  readonly name: string
}

const PK = 'link'
const MOST_LINKS = 100
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i

export function createLinks({ store, environment }: Pick<AgentContext, 'store' | 'environment'>): Links {
  const opened = new Map<string, Promise<Storage>>()

  async function records(): Promise<readonly NamedLink[]> {
    const items = await store.list(PK, { limit: MOST_LINKS })
    const links = items.map((item) => ({ name: item.sk, ...decodeRecord<LinkRecord>(item) }))
    return links.toSorted((a, b) => a.order - b.order)
  }

  async function add(kind: StorageKind, { name, path }: LinkOptions): Promise<LinkInfo> {
    await (await openStorage(kind, { path }, environment)).close()
    const links = await records()
    const chosen = name ?? freeName(kind, links)
    const same = links.find((link) => link.options.path === path && (name === undefined || link.name === name))
    if (same) return infoOf(same)
    if (!NAME.test(chosen)) throw new Problem('bad-request', 'A link is named with letters, digits, ".", "_" or "-".')
    if (links.length >= MOST_LINKS) throw new Problem('limit-reached', `An agent has at most ${MOST_LINKS} links.`)
    const link: LinkRecord = { kind, options: { path }, order: (links.at(-1)?.order ?? 0) + 1 }
    const added = await store.write([{ pk: PK, sk: chosen, expect: 0, body: encodeRecord(link) }])
    if (!added) throw new Problem('conflict', `Another storage is linked as ${JSON.stringify(chosen)}.`)
    return infoOf({ name: chosen, ...link })
  }

  /** A storage that does not answer is listed without its quota. */
  async function infoOf({ name, kind }: NamedLink): Promise<LinkInfo> {
    const quota = await open(name)
      .then(({ storage }) => storage.quota())
      .catch(() => undefined)
    return { name, kind, ...(quota && { quota }) }
  }

  async function open(name?: string): Promise<OpenLink> {
    const links = await records()
    const link = name === undefined ? links[0] : links.find((one) => one.name === name)
    if (!link) return notLinked(name)
    const storage = opened.get(link.name) ?? openLinked(link)
    opened.set(link.name, storage)
    storage.catch(() => opened.delete(link.name))
    return { name: link.name, storage: await storage }
  }

  const openLinked = ({ kind, options }: NamedLink): Promise<Storage> =>
    openStorage(kind, options, environment).catch((error: unknown) => {
      if (!(error instanceof Problem && error.code === 'not-found')) throw error
      throw new Problem('storage-unavailable', error.message)
    })

  async function forget(name: string): Promise<void> {
    const storage = opened.get(name)
    opened.delete(name)
    await storage?.then((open) => open.close()).catch(() => undefined)
  }

  return {
    add,
    list: async () => Promise.all((await records()).map(infoOf)),
    async remove(name) {
      const item = await store.get(PK, name)
      if (!item || !(await store.write([{ pk: PK, sk: name, expect: item.version }]))) {
        notLinked(name)
      }
      await forget(name)
    },
    open,
    async close() {
      await Promise.all(Array.from(opened.keys(), forget))
    },
  }
}

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
