/**
 * What an agent costs on AWS, from a table of prices (`npx vitest run test/bundle/cost.test.ts -u` writes the tables of
 * docs/COST.md). Dollars, before any free tier; what is assumed of the use stands in `USE`.
 */
import { limits } from '../../protocol/limits.ts'

/** us-east-1, as the price lists say; each by the unit in its name. */
export const PRICES = {
  lambdaGbSecond: 0.0000133334,
  lambdaRequest: 0.2e-6,
  dynamodbWrite: 0.625e-6,
  dynamodbRead: 0.125e-6,
  dynamodbGbMonth: 0.25,
  recoveryGbMonth: 0.2,
  s3GbMonth: 0.023,
  s3Put: 5e-6,
  s3Get: 0.4e-6,
  logGb: 0.5,
  alarmMonth: 0.1,
  metricMonth: 0.3,
  dashboardMonth: 3,
  egressGb: 0.09,
  otherRegionGb: 0.02,
} as const

type Price = keyof typeof PRICES
/** So much of each unit. */
type Bill = Readonly<Partial<Record<Price, number>>>

const MONTH_MINUTES = 30 * 24 * 60
const GIB = 1024 ** 3
const TIB_PIECES = 1024 ** 4 / (4 * 1024 ** 2)

/** Measured with test/bundle, or read off the code: what a round of chores and a piece take. */
const USE = {
  choresEveryMinutes: 5,
  choresSeconds: 0.35,
  choresReads: 21,
  choresWrites: 1,
  choresLogBytes: 400,
  stateGb: 0.01,
  mainGb: 1,
  downloadGb: 3008 / 1024,
  /** A piece of 4 MiB read from S3 and streamed. */
  sellSeconds: 0.25,
  /** Three flows share an instance. */
  buySeconds: 0.08,
  sellWrites: 1,
  buyWrites: 2,
  sequenceSeconds: 0.2,
  sequenceGb: 0.5,
  sequenceReads: 17,
  /** A run of entries, a tile, the head, what is taken off the waiting list, what is published. */
  appendWrites: 8,
  /** A tile, a bundle of entries, the checkpoint. */
  appendPuts: 3,
  askedAgainMinutes: limits.cosignedAgainMs / 60_000,
  cosignSeconds: 0.1,
  witnessGb: 0.25,
} as const

export const dollars = (bill: Bill): number =>
  Object.entries(bill).reduce((sum, [price, amount]) => sum + PRICES[price as Price] * amount, 0)

/** An agent for a month in which nobody asks anything of it. */
export function idleMonth(): Bill {
  const rounds = MONTH_MINUTES / USE.choresEveryMinutes
  return {
    lambdaRequest: rounds,
    lambdaGbSecond: rounds * USE.choresSeconds * USE.mainGb,
    dynamodbRead: rounds * USE.choresReads,
    dynamodbWrite: rounds * USE.choresWrites,
    dynamodbGbMonth: USE.stateGb,
    recoveryGbMonth: USE.stateGb,
    logGb: (rounds * USE.choresLogBytes) / GIB,
  }
}

/** A ledger for a month: at rest, or with something to append, to have cosigned and to put into its bucket every minute. */
export function ledgerMonth(isAtRest: boolean): Bill {
  const appends = isAtRest ? 0 : MONTH_MINUTES
  return {
    lambdaRequest: MONTH_MINUTES,
    lambdaGbSecond: MONTH_MINUTES * USE.sequenceSeconds * USE.sequenceGb,
    dynamodbRead: MONTH_MINUTES * USE.sequenceReads,
    dynamodbWrite: appends * USE.appendWrites,
    dynamodbGbMonth: USE.stateGb,
    recoveryGbMonth: USE.stateGb,
    s3Put: isAtRest ? MONTH_MINUTES / USE.askedAgainMinutes : appends * USE.appendPuts,
    logGb: (MONTH_MINUTES * USE.choresLogBytes) / GIB,
  }
}

/** A witness that is asked about one log: again every 20 minutes where that is at rest, every minute where it grows. */
export function witnessMonth(isAtRest: boolean): Bill {
  const asked = isAtRest ? MONTH_MINUTES / USE.askedAgainMinutes : MONTH_MINUTES
  return {
    lambdaRequest: asked,
    lambdaGbSecond: asked * USE.cosignSeconds * USE.witnessGb,
    dynamodbRead: asked,
    dynamodbWrite: asked,
  }
}

/** Metrics that a stack's alarms look at, where the owner asks for them. */
export const ALARMS = { agent: 6, repository: 4, ledger: 6, witness: 3 } as const

/** To be told what is wrong with a stack for a month in which each hour brings a request. */
export const watchMonth = (stack: keyof typeof ALARMS, hasDashboard: boolean): Bill => ({
  alarmMonth: ALARMS[stack],
  metricMonth: 1,
  ...(hasDashboard && { dashboardMonth: 1 }),
})

/** Where the buyer is. */
type Distance = 'internet' | 'other region' | 'same region'

const carriage = (distance: Distance): Bill => {
  if (distance === 'internet') return { egressGb: 1024 }
  return distance === 'other region' ? { otherRegionGb: 1024 } : {}
}

/** The seller's side of a TiB in pieces of 4 MiB. @param linked the bytes go from S3 to the buyer by a signed link */
export const soldTib = (distance: Distance, linked: boolean): Bill => ({
  lambdaRequest: TIB_PIECES,
  lambdaGbSecond: TIB_PIECES * (linked ? USE.sellSeconds / 5 : USE.sellSeconds) * USE.mainGb,
  dynamodbWrite: TIB_PIECES * USE.sellWrites,
  s3Get: TIB_PIECES,
  ...carriage(distance),
})

/**
 * The buyer's side. A drive of another provider's lies in the internet: what is written there is sent. A part of
 * two pieces is one request, and another for the piece that waited; on their way into a drive nearly all pieces wait.
 */
export const boughtTib = (into: 'bucket' | 'drive'): Bill => ({
  lambdaGbSecond: TIB_PIECES * USE.buySeconds * USE.downloadGb,
  dynamodbWrite: TIB_PIECES * USE.buyWrites,
  s3Put: TIB_PIECES,
  ...(into === 'drive' && carriage('internet')),
})

const keptTibMonth = (): Bill => ({ s3GbMonth: 1024 })

const money = (amount: number): string => `$${amount.toFixed(2)}`
const table = (rows: readonly (readonly string[])[]): string => rows.map((row) => `| ${row.join(' | ')} |`).join('\n')

/** Markdown, by the name of its place in docs/COST.md. */
export function costTables(): Readonly<Record<string, string>> {
  const idle = idleMonth()
  const distances: readonly Distance[] = ['internet', 'other region', 'same region']
  const sold = (linked: boolean): string[] => distances.map((distance) => money(dollars(soldTib(distance, linked))))
  const alike = (bill: Bill): string[] => distances.map(() => money(dollars(bill)))
  return {
    idle: table([
      ['', 'a month'],
      ['---', '---'],
      ...Object.entries(idle).map(([price, amount]) => [
        `\`${price}\``,
        `$${(PRICES[price as Price] * amount).toFixed(4)}`,
      ]),
      ['**an idle agent**', `**${money(dollars(idle))}**`],
    ]),
    ledger: table([
      ['', 'a month at rest', 'with entries every minute'],
      ['---', '---', '---'],
      ['a ledger', ...[true, false].map((isAtRest) => money(dollars(ledgerMonth(isAtRest))))],
      ['a witness of one log', ...[true, false].map((isAtRest) => money(dollars(witnessMonth(isAtRest))))],
    ]),
    watch: table([
      ['a stack’s', 'alarms and budget', 'with a dashboard'],
      ['---', '---', '---'],
      ...(Object.keys(ALARMS) as (keyof typeof ALARMS)[]).map((stack) => [
        stack,
        money(dollars(watchMonth(stack, false))),
        money(dollars(watchMonth(stack, true))),
      ]),
    ]),
    exchange: table([
      ['a TiB', ...distances],
      ['---', ...distances.map(() => '---')],
      ['sold through the function', ...sold(false)],
      ['sold by signed links', ...sold(true)],
      ['bought, into a bucket', ...alike(boughtTib('bucket'))],
      ['bought, into a Drive or Dropbox', ...alike(boughtTib('drive'))],
      ['kept in a bucket for a month', ...alike(keptTibMonth())],
    ]),
  }
}
