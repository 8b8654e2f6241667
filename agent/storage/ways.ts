/**
 * Ways for a piece from one storage to another, and what each costs both sides together. The figures are the providers'
 * list prices and stand here alone: whoever pays others changes this file.
 */

import type { CopySource } from './storage.ts'

/** `copy`: inside the provider. `link`: a URL for the range alone. `through`: the seller's agent sends the bytes. */
export type Way = 'copy' | 'link' | 'through'

/** Where a storage lies. */
export interface Site {
  /** Such as `s3`. */
  readonly provider: string
  readonly region?: string
  /** Hosts, with ports where they are not usual, that its links lead to. */
  readonly hosts: readonly string[]
  /** Others at the same provider may copy from it: its owner has allowed them. */
  readonly lends: boolean
}

export interface OfferedWay {
  readonly way: Way
  readonly provider: string
  readonly region?: string
  readonly hosts: readonly string[]
}

/** A place as a URL, for the Location of a reply, and back. It is no link: only the provider can follow it. */
export const placeUrl = ({ provider, place, version }: CopySource): string =>
  `${provider}://${place}?version=${encodeURIComponent(version)}`

export function placeFrom(url: string): CopySource | undefined {
  const [, provider, place, version] = /^([a-z0-9]+):\/\/([!-~]+)\?version=([!-~]*)$/.exec(url) ?? []
  if (provider === undefined || place === undefined || version === undefined) return undefined
  return { provider, place, version: decodeURIComponent(version) }
}

/** In millionths of a US dollar. */
interface Price {
  readonly perPiece: number
  readonly perGiB: number
}

interface Prices {
  readonly sameRegion: Price
  readonly elsewhere: Price
}

const GIB = 1024 ** 3
/** A function that sends a piece runs for as long as that takes; so does one that reads it. */
const THROUGH_PER_GIB = 500

/** As of 2026, us-east-1: requests, parts put, egress. */
export const COSTS: Readonly<Record<string, Readonly<Record<Way, Prices>>>> = {
  s3: {
    copy: { sameRegion: { perPiece: 5, perGiB: 0 }, elsewhere: { perPiece: 5, perGiB: 20_000 } },
    link: { sameRegion: { perPiece: 5.8, perGiB: 0 }, elsewhere: { perPiece: 5.8, perGiB: 90_000 } },
    through: {
      sameRegion: { perPiece: 5.4, perGiB: THROUGH_PER_GIB },
      elsewhere: { perPiece: 5.4, perGiB: 90_000 + THROUGH_PER_GIB },
    },
  },
}

/** Of those in the table, the provider from which sending costs most. */
export const DEAREST = 's3'

const isNear = (offered: Pick<OfferedWay, 'provider' | 'region'>, home: Site | undefined): boolean =>
  home !== undefined &&
  home.provider === offered.provider &&
  home.region !== undefined &&
  home.region === offered.region

/** @returns 0 for a provider without prices, such as a disk at home */
export function costOf(
  way: Way,
  from: Pick<OfferedWay, 'provider' | 'region'>,
  home: Site | undefined,
  bytes: number,
): number {
  const prices = COSTS[from.provider]?.[way]
  if (!prices) return 0
  const { perPiece, perGiB } = isNear(from, home) ? prices.sameRegion : prices.elsewhere
  return perPiece + (perGiB * bytes) / GIB
}

/** The ways that a storage there offers besides its agent. */
export const waysOf = ({ provider, region, hosts, lends }: Site): OfferedWay[] =>
  (lends ? (['link', 'copy'] as const) : (['link'] as const)).map((way) => ({
    way,
    provider,
    hosts,
    ...(region !== undefined && { region }),
  }))

/** The cheapest of those that are allowed; `through` where it costs no more, or nothing else is. */
export function cheapestWay(
  offered: readonly OfferedWay[],
  home: Site | undefined,
  bytes: number,
  isAllowed: (way: OfferedWay) => boolean,
): OfferedWay | undefined {
  const [first] = offered
  if (!first) return undefined
  let best: { way: OfferedWay | undefined; cost: number } = {
    way: undefined,
    cost: costOf('through', first, home, bytes),
  }
  for (const way of offered.filter(isAllowed)) {
    const cost = costOf(way.way, way, home, bytes)
    if (cost < best.cost) best = { way, cost }
  }
  return best.way
}
