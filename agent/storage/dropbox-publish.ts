/** How a finished file of a Dropbox gets its name: whole, at once, and never one that is taken. */
import type { DropboxApi, DropboxFile } from './dropbox-api.ts'
import { isTagged } from './dropbox-errors.ts'
import { plainName } from './dropbox-names.ts'
import type { DropboxPaths } from './dropbox-paths.ts'
import { fatal, unlessNotFound } from './faults.ts'
import { takeName } from './names.ts'
import type { WriteRef } from './storage.ts'

export interface WholeWrite {
  readonly write: WriteRef
  readonly contentHash: string
  /** Asks for a name. @throws Problem `conflict` where it is taken */
  readonly ask: (path: string) => Promise<DropboxFile>
  /** Whether `conflict` may mean that an earlier try has had its effect: a session that is over says something else. */
  readonly isBlind: boolean
  /** The name that an earlier try has asked for. */
  readonly target: string | undefined
}

export interface DropboxPublisher {
  /** Whether an earlier try has given it its name. */
  isThere(whole: WholeWrite): Promise<boolean>
  /**
   * A name that Dropbox refuses is given in plain letters.
   * @returns `lost` when Dropbox has no such session, or not all of it
   */
  publish(whole: WholeWrite, intend: Intend): Promise<DropboxFile | 'lost'>
}

/** Keeps the name that is about to be asked for. */
type Intend = (name: string) => Promise<void>

export function createDropboxPublisher(api: DropboxApi, paths: DropboxPaths): DropboxPublisher {
  async function bearer(name: string): Promise<DropboxFile | 'folder' | 'document' | undefined> {
    return api.get(paths.pathOf(name)).catch(unlessNotFound)
  }

  /** The file of an earlier try whose reply was lost. */
  async function earlier(
    { write, contentHash }: WholeWrite,
    name: string | undefined,
  ): Promise<DropboxFile | undefined> {
    const found = name === undefined ? undefined : await bearer(name)
    if (typeof found !== 'object') return undefined
    return found.size === write.size && found.contentHash === contentHash ? found : undefined
  }

  /** @returns undefined when the name is taken */
  async function give(whole: WholeWrite, name: string): Promise<DropboxFile | 'lost' | undefined> {
    try {
      return await whole.ask(paths.pathOf(name))
    } catch (error) {
      const isLost = isTagged(
        error,
        'lookup_failed',
        'concurrent_session_missing_data',
        'concurrent_session_not_closed',
      )
      if (isLost) return (await earlier(whole, name)) ?? 'lost'
      if (!isTagged(error, 'conflict')) throw error
      return whole.isBlind ? earlier(whole, name) : undefined
    }
  }

  /** Under the path, or the first of its numbers that is free. */
  async function giveFree(whole: WholeWrite, path: string, intend: Intend): Promise<DropboxFile | 'lost'> {
    const given = await takeName(path, async (name) => {
      if (await bearer(name)) return undefined
      await intend(name)
      return give(whole, name)
    })
    return given === 'lost' ? given : check(given, whole, api)
  }

  return {
    isThere: async (whole) => (await earlier(whole, whole.target)) !== undefined,
    async publish(whole, intend) {
      const known = await earlier(whole, whole.target)
      if (known) return known
      const { name } = whole.write
      return giveFree(whole, name, intend).catch((error: unknown) => {
        if (!isTagged(error, 'malformed_path', 'disallowed_name')) throw error
        return giveFree(whole, name.split('/').map(plainName).join('/'), intend)
      })
    },
  }
}

/** What was put is what is there, or it is taken away again. */
async function check(file: DropboxFile, { write, contentHash }: WholeWrite, api: DropboxApi): Promise<DropboxFile> {
  if (file.size === write.size && file.contentHash === contentHash) return file
  await api.remove(file.path, file.rev)
  throw fatal('corrupt', 'Dropbox has other bytes than were put.')
}
