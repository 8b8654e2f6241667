/** The caps of an agent whose owner has set none: for somebody who has never heard of them. */
import { Problem } from '../../protocol/problem.ts'
import type { DayCaps } from './guard.ts'

/** Credits: nearly 100 GiB a day at a credit a piece of 4 MiB. */
const SPEND = '25000'
/** Bytes, where each that leaves is billed: AWS sends 100 GB a month for nothing. */
const SERVE_BILLED = String(3 * 1024 ** 3)
const NONE = 'none'

/** @param optional reads SPEND_MOST and SERVE_MOST, each a number or `none`. @param isBilled somebody counts what leaves the host */
export function usualCaps(optional: (name: string, otherwise: string) => string, isBilled: boolean): DayCaps {
  const spend = numberIn(optional('SPEND_MOST', SPEND))
  const serve = numberIn(optional('SERVE_MOST', isBilled ? SERVE_BILLED : NONE))
  return { ...(spend !== undefined && { spend }), ...(serve !== undefined && { serve }) }
}

function numberIn(text: string): bigint | undefined {
  if (text === NONE) return undefined
  if (/^\d{1,18}$/.test(text)) return BigInt(text)
  throw new Problem(
    'bad-request',
    'SPEND_MOST (credits a day) and SERVE_MOST (bytes a day) each take a number or "none".',
  )
}
