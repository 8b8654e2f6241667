/** Anybody may carry what one ledger's log says to another ledger. */
import { proveEntry } from '../../agent/clients/carry.ts'
import type { LedgerClient } from '../../agent/clients/ledger-client.ts'
import { mint, refund } from '../../protocol/crossing.ts'
import type { Envelope, Signer } from '../../protocol/signed.ts'

export const carryLock = async (from: LedgerClient, receipt: Envelope, to: LedgerClient, signer: Signer) =>
  to.mint(mint(await proveEntry(from, receipt), signer))

/** @param receipt for the decline */
export const carryBack = async (from: LedgerClient, receipt: Envelope, to: LedgerClient, signer: Signer) =>
  to.refund(refund(await proveEntry(from, receipt), signer))
