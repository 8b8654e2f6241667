import * as nodeFs from 'node:fs/promises'
import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findSource } from '../../agent/share/source.ts'
import { folderProblem } from '../../agent/storage/folder.ts'
import { realFs, type FolderFs } from '../../agent/storage/folder-paths.ts'
import type { WriteRef } from '../../agent/storage/storage.ts'
import { namesOf } from '../conformance/storage-world.ts'
import { pattern } from '../pattern.ts'
import { everythingIn, filesIn, linkFolder, type LinkedFolder } from './linked-folder.ts'
import { PART, partAt } from './storage-folder-writer.ts'

describe('a linked folder', () => {
  let linked: LinkedFolder
  beforeEach(async () => {
    linked = await linkFolder()
  })
  afterEach(() => linked.close())

  test('takes a line of the journal that was cut short for what it says, or not at all', async () => {
    const write = await linked.storage.begin('file', 100)
    await linked.storage.put(write, 0, pattern(10))
    const [journal] = (await readdir(join(linked.root, '.raincheck-partial'))).filter((name) =>
      name.endsWith('.journal'),
    )
    const path = join(linked.root, '.raincheck-partial', journal as string)
    await writeFile(path, `${await readFile(path, 'utf8')}\n10 9`)
    expect(await linked.storage.written(write)).toEqual([{ offset: 0, length: 10 }])
    await linked.storage.put(write, 50, pattern(10))
    expect(await linked.storage.written(write)).toEqual([
      { offset: 0, length: 19 },
      { offset: 50, length: 10 },
    ])
  })

  test('keeps every part that was acknowledged when its process is killed, again and again', async () => {
    const parts = 400
    const write = await linked.storage.begin('file', parts * PART)
    let next = 0
    for (let kills = 1; kills <= 5; kills++) next = (await putUntilKilled(linked.root, write, next, kills * 15)) + 1
    const written = await linked.storage.written(write)
    expect(written).toHaveLength(1)
    expect(written[0]?.length).toBeGreaterThanOrEqual(next * PART)
    for (let index = next; index < parts; index++) await linked.storage.put(write, index * PART, partAt(index))
    const file = await linked.storage.commit(write)
    for (let index = 0; index < parts; index++) {
      const bytes = await linked.storage.read(file, { offset: index * PART, length: PART })
      expect(Buffer.from(bytes).equals(partAt(index))).toBe(true)
    }
  })

  test('finishes a commit that a crash cut short at any step', async () => {
    for (const step of ['link', 'rename', 'unlink', 'rmdir'] as const) {
      for (const outcome of ['done', 'not done'] as const) {
        const write = await linked.storage.begin(`folder/${step}`, 5)
        await linked.storage.put(write, 0, pattern(5))
        const crash = async (...names: [string, string]): Promise<void> => {
          if (outcome === 'done') await (nodeFs[step] as (...names: string[]) => Promise<void>)(...names)
          throw new Error('crash')
        }
        const crashing = await linked.open({
          ...realFs,
          [step]: crash,
          ...(step === 'rename' && { link: refuseLinks }),
        })
        await crashing.commit(write).catch(() => undefined)
        const file = await (await linked.open()).commit(write)
        expect(await linked.storage.read(file, { offset: 0, length: 5 })).toEqual(pattern(5))
        await linked.storage.remove(file)
      }
    }
    expect((await filesIn(linked.root)).filter((name) => name.startsWith('.raincheck'))).toEqual([])
  })

  test('commits what a disk that numbers its files anew at each mount has kept', async () => {
    await writeFile(join(linked.root, 'file'), 'mine')
    const write = await linked.storage.begin('file', 10)
    await linked.storage.put(write, 0, pattern(10))
    const mounted = await linked.open({ ...realFs, link: refuseLinks, lstat: renumbered(7n) })
    expect(await mounted.written(write)).toEqual([{ offset: 0, length: 10 }])
    const file = await mounted.commit(write)
    expect(file.name).toBe('file (2)')
    expect(await mounted.read(file, { offset: 0, length: 10 })).toEqual(pattern(10))
    expect(await everythingIn(linked.root)).toEqual(['file', 'file (2)'])
  })

  test('finishes a commit whose link was made before the disk numbered its files anew', async () => {
    const write = await linked.storage.begin('file', 5)
    await linked.storage.put(write, 0, pattern(5))
    const crashing = await linked.open({ ...realFs, unlink: failing('EIO') })
    await expect(crashing.commit(write)).rejects.toMatchObject({ code: 'storage-unavailable' })
    const mounted = await linked.open({ ...realFs, lstat: renumbered(7n) })
    expect(await mounted.commit(write)).toMatchObject({ name: 'file' })
    expect(await everythingIn(linked.root)).toEqual(['file'])
  })

  test('takes nothing away at a commit that finds neither what was put nor the file', async () => {
    const write = await linked.storage.begin('file', 10)
    await linked.storage.put(write, 0, pattern(10))
    const before = await everythingIn(linked.root)
    const data = join(linked.root, before.find((name) => name.endsWith('.data')) as string)
    await truncate(data, 9)
    await expect(linked.storage.commit(write)).rejects.toMatchObject({ code: 'not-found' })
    expect(await everythingIn(linked.root)).toEqual(before)
    await truncate(data, 10)
    expect(await linked.storage.commit(write)).toMatchObject({ name: 'file' })
  })

  test('commits without hard links too, and overwrites nothing', async () => {
    const other = await linked.open({ ...realFs, link: refuseLinks })
    await writeFile(join(linked.root, 'file'), 'mine')
    const write = await other.begin('file', 5)
    await other.put(write, 0, pattern(5))
    expect(await other.commit(write)).toMatchObject({ name: 'file (2)' })
    expect(await other.commit(write)).toMatchObject({ name: 'file (2)' })
    expect(await readFile(join(linked.root, 'file'), 'utf8')).toBe('mine')
    expect(await everythingIn(linked.root)).toEqual(['file', 'file (2)'])
  })

  test('says that the disk is full, and keeps what was written', async () => {
    const write = await linked.storage.begin('file', 20)
    await linked.storage.put(write, 0, pattern(10))
    const full = await linked.open({ ...realFs, open: openFull })
    await expect(full.put(write, 10, pattern(10))).rejects.toMatchObject({ code: 'storage-full' })
    expect(await linked.storage.written(write)).toEqual([{ offset: 0, length: 10 }])
    await linked.storage.put(write, 10, pattern(10))
    expect(await linked.storage.commit(write)).toMatchObject({ name: 'file' })
  })

  test('refuses at once a file that the disk has no room for', async () => {
    await expect(linked.storage.begin('file', 2 ** 52)).rejects.toMatchObject({ code: 'storage-full' })
    expect(await everythingIn(linked.root)).toEqual([])
  })

  test('says that the folder cannot be written', async () => {
    const readOnly = await linked.open({ ...realFs, mkdir: failing('EROFS') })
    await expect(readOnly.begin('file', 1)).rejects.toMatchObject({ code: 'storage-read-only' })
    expect(await everythingIn(linked.root)).toEqual([])
  })

  test('knows a folder that is gone from a file that is gone', async () => {
    await writeFile(join(linked.root, 'file'), 'x')
    const { version } = await linked.storage.stat({ name: 'file' })
    await rename(linked.root, join(linked.base, 'elsewhere'))
    const outcome = linked.storage.read({ name: 'file', version }, { offset: 0, length: 1 })
    await expect(outcome).rejects.toMatchObject({ code: 'storage-unavailable' })
    await expect(linked.storage.list()).rejects.toMatchObject({ code: 'storage-unavailable' })
    await expect(linked.storage.begin('file', 1)).rejects.toMatchObject({ code: 'storage-unavailable' })
    await mkdir(linked.root)
    await expect(linked.storage.stat({ name: 'file' })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('lists what is there although a file, or a folder, goes meanwhile', async () => {
    for (const name of ['a', 'gone', 'sub/gone', 'sub/kept', 'z']) {
      await mkdir(dirname(join(linked.root, name)), { recursive: true })
      await writeFile(join(linked.root, name), 'x')
    }
    const vanishing = (gone: RegExp) =>
      ((path: string, options: { bigint: true }) =>
        gone.test(path) ? failing('ENOENT')() : nodeFs.lstat(path, options)) as FolderFs['lstat']
    const files = await linked.open({ ...realFs, lstat: vanishing(/gone$/) })
    expect(await namesOf(files)).toEqual(['a', 'sub/kept', 'z'])
    const readdir = ((path: string, options: { withFileTypes: true }) =>
      path.endsWith('sub') ? failing('ENOENT')() : nodeFs.readdir(path, options)) as FolderFs['readdir']
    expect(await namesOf(await linked.open({ ...realFs, readdir }))).toEqual(['a', 'gone', 'z'])
  })

  test('lists nothing of a folder that goes itself meanwhile', async () => {
    await mkdir(join(linked.root, 'sub'))
    for (const name of ['sub/a', 'sub/b']) await writeFile(join(linked.root, name), 'x')
    const lstat = (async (path: string, options: { bigint: true }) => {
      await rm(linked.root, { recursive: true, force: true })
      return nodeFs.lstat(path, options)
    }) as FolderFs['lstat']
    const away = await linked.open({ ...realFs, lstat })
    await expect(away.list()).rejects.toMatchObject({ code: 'storage-unavailable' })
    await mkdir(join(linked.root, 'sub'), { recursive: true })
    expect(await linked.storage.list({ under: 'other' })).toEqual({ files: [], refused: [] })
  })

  test('lists what may be read beside what may not', async () => {
    await mkdir(join(linked.root, 'lost+found'))
    for (const name of ['a', 'secret', 'z']) await writeFile(join(linked.root, name), 'x')
    const denied = (path: string): boolean => path.endsWith('lost+found') || path.endsWith('secret')
    const shut = await linked.open({
      ...realFs,
      readdir: ((path: string, options: { withFileTypes: true }) =>
        denied(path) ? failing('EACCES')() : nodeFs.readdir(path, options)) as FolderFs['readdir'],
      lstat: ((path: string, options: { bigint: true }) =>
        denied(path) ? failing('EPERM')() : nodeFs.lstat(path, options)) as FolderFs['lstat'],
    })
    const { files, refused } = await shut.list()
    expect(files.map(({ name }) => name)).toEqual(['a', 'z'])
    expect(refused).toEqual([
      { name: 'lost+found', problem: 'forbidden' },
      { name: 'secret', problem: 'forbidden' },
    ])
    await expect(shut.list({ under: 'lost+found' })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(findSource(shut, 'lost+found')).rejects.toMatchObject({ code: 'forbidden' })
    await mkdir(join(linked.root, 'album/lost+found'), { recursive: true })
    await writeFile(join(linked.root, 'album/one'), 'x')
    await expect(findSource(shut, 'album')).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('names what the operating system says', () => {
    const named = (code: string, way: 'read' | 'write') =>
      folderProblem(Object.assign(new Error(code), { code }), way).code
    expect(['ENOSPC', 'EDQUOT'].map((code) => named(code, 'write'))).toEqual(['storage-full', 'storage-full'])
    expect(['EROFS', 'EACCES', 'EPERM'].map((code) => named(code, 'write'))).toEqual(Array(3).fill('storage-read-only'))
    expect(named('EACCES', 'read')).toBe('forbidden')
    expect(['EIO', 'EMFILE', 'ETIMEDOUT'].map((code) => named(code, 'read'))).toEqual(
      Array(3).fill('storage-unavailable'),
    )
  })
})

/** @returns the last part that was acknowledged */
async function putUntilKilled(root: string, write: WriteRef, first: number, parts: number): Promise<number> {
  const script = fileURLToPath(new URL('./storage-folder-writer.ts', import.meta.url))
  const child = spawn(process.execPath, [script, root, JSON.stringify(write), String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  let last = first - 1
  for await (const line of createInterface(child.stdout)) {
    last = Number(line)
    if (last >= first + parts) child.kill('SIGKILL')
  }
  await exited
  return last
}

const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }))
const refuseLinks = failing('EPERM')

/** As FAT, exFAT and FUSE do after a mount: each file has another inode. */
const renumbered = (by: bigint) =>
  (async (path: string, options: { bigint: true }) => {
    const found = await nodeFs.lstat(path, options)
    return Object.assign(found, { ino: found.ino + by })
  }) as FolderFs['lstat']

/** A disk that takes no more bytes. */
const openFull = async (...args: Parameters<typeof nodeFs.open>) => {
  const handle = await nodeFs.open(...args)
  handle.write = failing('ENOSPC')
  return handle
}
