/** Templates and bundles once for all files of a run: whoever comes first makes them, the others wait. */
import { existsSync, mkdirSync } from 'node:fs'
import { cp, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { inject } from 'vitest'
import type { Template } from './cloud.ts'
import { makeTemplate, synthesize } from './synth.ts'

const LOOK_MS = 100

/** @returns the folder of all stacks, for reading. @throws with what the checks found */
export const synthesizeOnce = (): Promise<string> =>
  onceARun('stacks', async (place) => {
    await cp(await synthesize(), place, { recursive: true })
  })

/** The one-file template. */
export async function makeTemplateOnce(): Promise<{ readonly text: string; readonly template: Template }> {
  const file = await onceARun('template', async (place) => writeFile(place, (await makeTemplate()).text))
  const text = await readFile(file, 'utf8')
  return { text, template: JSON.parse(text) as Template }
}

async function onceARun(name: string, make: (place: string) => Promise<void>): Promise<string> {
  const place = join(inject('runFolder'), name)
  const isFirst = mkdirSync(`${place}-begun`, { recursive: true }) !== undefined
  if (isFirst) await make(`${place}-made`).then(() => rename(`${place}-made`, place))
  while (!existsSync(place)) await setTimeout(LOOK_MS)
  return place
}
