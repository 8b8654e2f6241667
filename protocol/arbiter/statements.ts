/** What the ledger states of itself: its policy, as the first entry, and from time to time what its log leads to. */
import { toHex, type Bytes } from '../bytes.ts'
import type { Bencode } from '../encoding.ts'
import { Problem } from '../problem.ts'
import { checkKey } from '../signature.ts'
import { attestations, keys, policies, read, readAttestation, readPolicy, write, type Policy } from './items.ts'
import { stated, type Step } from './step.ts'

export function setPolicy(data: Bencode | undefined): Step {
  const policy = readPolicy(data ?? {})
  for (const key of keysIn(policy)) checkKey(key)
  const deciding = policy.federation?.keys.map(toHex) ?? []
  if (new Set(deciding).size !== deciding.length)
    throw new Problem('bad-encoding', 'A key of the federation is listed twice.')
  return stated(async (view) => {
    if (await view.get(keys.policy)) throw new Problem('conflict', 'The policy is set already.')
    write(view, policies, keys.policy, policy)
    return []
  })
}

const keysIn = ({ federation, issuer, key }: Policy): readonly Bytes[] =>
  [key, issuer, federation?.authority, ...(federation?.keys ?? [])].filter((each) => each !== undefined)

/** Root and sums can only be checked by a replay; here, that nothing is made or lost and that attestations go forward. */
export function attest(data: Bencode | undefined): Step {
  const attestation = readAttestation(data ?? {})
  const { available, bonds = 0n, earned, frozen, issued } = attestation
  if (available + bonds + earned + frozen !== issued) throw new Problem('conflict', 'The sums are not what was issued.')
  return stated(async (view) => {
    const last = await read(view, attestations, keys.attested)
    if (last && attestation.size <= last.size) throw new Problem('conflict', `The log is attested up to ${last.size}.`)
    write(view, attestations, keys.attested, attestation)
    return []
  })
}
