/** A ledger whose log is watched: nothing is sent to it that credits depend on before its log holds, and receipts are kept track of. */
import type { Envelope } from '../../protocol/signed.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'
import type { LogWatch } from './log-watch.ts'

export function watchLedger(ledger: LedgerClient, watch: LogWatch): LedgerClient {
  /** A promise that is not noted down is a promise lost; the command itself took effect. */
  async function guarded<T extends { readonly receipt: Envelope }>(send: () => Promise<T>): Promise<T> {
    await watch.require()
    const answer = await send()
    await watch.owe(answer.receipt)
    return answer
  }

  return {
    ...ledger,
    register: (identity, membership) => guarded(() => ledger.register(identity, membership)),
    rotate: (identity) => guarded(() => ledger.rotate(identity)),
    delegate: (delegation) => guarded(() => ledger.delegate(delegation)),
    declare: (declaration) => guarded(() => ledger.declare(declaration)),
    claim: (commitment, claim) => guarded(() => ledger.claim(commitment, claim)),
    redeem: (redemption) => guarded(() => ledger.redeem(redemption)),
    release: (release, signoff) => guarded(() => ledger.release(release, signoff)),
    dispute: (label, dispute) => guarded(() => ledger.dispute(label, dispute)),
    transfer: (transfer) => guarded(() => ledger.transfer(transfer)),
    lock: (lock) => guarded(() => ledger.lock(lock)),
    mint: (mint) => guarded(() => ledger.mint(mint)),
    decline: (lock) => guarded(() => ledger.decline(lock)),
    refund: (refund) => guarded(() => ledger.refund(refund)),
  }
}
