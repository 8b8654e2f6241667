/** What the errors of DynamoDB and its SDK mean to a store. */
import {
  DynamoDBServiceException,
  ResourceNotFoundException,
  TransactionCanceledException,
} from '@aws-sdk/client-dynamodb'
import { Problem } from '../../protocol/problem.ts'
import type { Failure } from './attempts.ts'

/** Whether a transaction was cancelled for its conditions alone. */
export const isRefused = (error: unknown): boolean => {
  const codes = cancellations(error)
  return codes.length > 0 && codes.every((code) => code === 'ConditionalCheckFailed')
}

const cancellations = (error: unknown): string[] =>
  error instanceof TransactionCanceledException
    ? (error.CancellationReasons ?? []).map(({ Code = 'None' }) => Code).filter((code) => code !== 'None')
    : []

/** Others write the same items, or more is asked for than the table gives. */
const BUSY = new Set([
  'ProvisionedThroughputExceededException',
  'ReplicatedWriteConflictException',
  'RequestLimitExceeded',
  'ThrottlingException',
  'TransactionInProgressException',
])
/** Of a transaction: no time will mend these. */
const MISMADE = new Set(['ValidationError', 'ItemCollectionSizeLimitExceeded'])

export function failureOf(error: unknown): Failure {
  if (error instanceof Problem || isUnsigned(error)) return 'final'
  if (!(error instanceof DynamoDBServiceException) || isFault(error)) return 'lost'
  if (error instanceof TransactionCanceledException) {
    return cancellations(error).some((code) => MISMADE.has(code)) ? 'final' : 'busy'
  }
  return BUSY.has(error.name) || isUntimely(error) ? 'busy' : 'final'
}

/** No credentials were found to sign the request with. */
const isUnsigned = (error: unknown): boolean => error instanceof Error && error.name.endsWith('ProviderError')

const isFault = ({ $metadata }: DynamoDBServiceException): boolean => ($metadata.httpStatusCode ?? 500) >= 500

/** Our clock is wrong; the SDK has learnt the server's time from the refusal and will sign with that. */
const isUntimely = ({ $metadata }: DynamoDBServiceException): boolean =>
  'clockSkewCorrected' in $metadata && $metadata.clockSkewCorrected === true

/** The SDK's own words stay here: they may name an account. */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof Problem) throw error
    if (error instanceof ResourceNotFoundException) throw new Problem('store-unavailable', "The store's table is gone.")
    const name = error instanceof Error ? error.name : 'Error'
    throw new Problem('store-unavailable', `The store did not answer (${name}).`)
  }
}

/** For the operator, who is told all of it. */
export function problemOfOpening(table: string, error: unknown): Problem {
  if (error instanceof Problem) return error
  const reason = error instanceof Error ? error.message || error.name : String(error)
  return new Problem('store-unavailable', `The table ${table} cannot be opened: ${reason}.`)
}
