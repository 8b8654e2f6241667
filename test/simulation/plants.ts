/**
 * Faults planted in the shipped source, each a change of one rule: a simulation that finds none of them would find
 * nothing. A plant is a replacement made while the module loads; nothing on disk changes.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface Plant {
  readonly name: string
  /** From the root. */
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
}

export const PLANTS: readonly Plant[] = []

/** @throws Error for an unknown name */
export function plantNamed(name: string): Plant {
  const plant = PLANTS.find((one) => one.name === name)
  if (!plant) throw new Error(`there is no plant "${name}"; there are: ${PLANTS.map((one) => one.name).join(', ')}`)
  return plant
}

/** The source with the plant in it. @throws Error unless its place is there exactly once */
export function planted({ name, file, find, replace }: Plant, source: string): string {
  const places = source.split(find).length - 1
  if (places !== 1) throw new Error(`the plant "${name}" finds its place in ${file} ${places} times`)
  return source.replace(find, () => replace)
}

export const sourceOf = ({ file }: Pick<Plant, 'file'>): string => readFileSync(urlOf(file), 'utf8')

const urlOf = (file: string): URL => new URL(`../../${file}`, import.meta.url)

/** From now on, modules load with the fault. Call before any of them is. */
export function installPlant(name: string): void {
  const plant = plantNamed(name)
  const path = fileURLToPath(urlOf(plant.file))
  planted(plant, sourceOf(plant))
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      if (!url.startsWith('file:') || fileURLToPath(url) !== path) return loaded
      return { ...loaded, source: planted(plant, String(loaded.source)) }
    },
  })
}
