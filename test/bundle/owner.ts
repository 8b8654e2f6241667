/** An owner of a deployed agent: claims it, and asks of it what the command asks. */
import { delegateTo, USUAL_CAPS } from '../../agent/adopt.ts'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom } from '../../protocol/signed.ts'

export interface DeployedOwner extends OwnerClient {
  readonly id: string
  readonly claim: (secret?: string) => Promise<Response>
}

const environment = realEnvironment()

export function createOwner(url: string): DeployedOwner {
  const signer = signerFrom(environment.random.bytes(32))
  const operation = genesis([signer], environment.clock.now())
  const owner = objectId('identity', operation.body)
  return {
    ...createOwnerClient({ environment, url, owner, signer }),
    id: toHex(owner),
    async claim(secret) {
      const { key, ledgerId } = (await (await fetch(`${url}/v1/claim`)).json()) as { key: string; ledgerId: string }
      const delegation = delegateTo({
        owner,
        signer,
        agent: fromHex(key),
        ledgerId,
        caps: USUAL_CAPS,
        nowMs: environment.clock.now(),
      })
      const body = {
        ...(secret !== undefined && { secret }),
        operations: [envelopeToJson(operation)],
        delegation: envelopeToJson(delegation),
      }
      return fetch(`${url}/v1/claim`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    },
  }
}
