/** The key that a ledger signs its log with, by its own word. */
import { equal, fromHex } from '../../protocol/bytes.ts'
import { parseVerifierKey, type NoteKey } from '../../protocol/checkpoint.ts'
import { Problem } from '../../protocol/problem.ts'
import type { LedgerInfo } from '../clients/ledger-client.ts'

/** @throws Problem `peer-failed` when it does not name its own key, under its origin */
export function keyOfLedger({ key, origin, vkey }: Pick<LedgerInfo, 'key' | 'origin' | 'vkey'>): NoteKey {
  const noteKey = parseVerifierKey(vkey)
  if (noteKey.name !== origin || !equal(noteKey.key, fromHex(key)))
    throw new Problem('peer-failed', 'The ledger’s verifier key does not match its key and origin.')
  return noteKey
}
