import { describe, expect, it } from 'vitest'
import { toHex } from '../../protocol/bytes.ts'
import { applyOperation, genesis, rotate } from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { envelopeToJson, signerFrom, type Envelope } from '../../protocol/signed.ts'
import { testRepository } from './kit.ts'
import { DAY, NOW, numbered, person } from './people.ts'

const [ann, bob] = [person(1), person(2)]
const operationsOf = (...operations: readonly Envelope[]) => ({ operations: operations.map(envelopeToJson) })
const rotated = rotate(ann.state, [bob.owner.key, ann.owner.key], NOW, ann.owner)

describe('identities', () => {
  it('are made known once, and told as they were signed', async () => {
    const repository = testRepository()
    const id = toHex(ann.id)
    const first = await repository.ask('POST', '/v1/identities', operationsOf(...ann.operations))
    expect(first).toMatchObject({ status: 201, json: { id, keys: [toHex(ann.owner.key)], seq: 0 } })
    const again = await repository.ask('POST', '/v1/identities', operationsOf(...ann.operations))
    expect(again).toMatchObject({ status: 200, json: first.json })
    const { json } = await repository.get(`/v1/identities/${id}`)
    expect(json).toEqual({ ...first.json, ...operationsOf(...ann.operations) })
  })

  it('grow by the operations that are new', async () => {
    const repository = testRepository()
    await repository.register(ann)
    const grown = await repository.ask('POST', '/v1/identities', operationsOf(...ann.operations, rotated))
    expect(grown).toMatchObject({ status: 201, json: { seq: 1, keys: [toHex(bob.owner.key), toHex(ann.owner.key)] } })
    const old = await repository.ask('POST', '/v1/identities', operationsOf(...ann.operations))
    expect(old).toMatchObject({ status: 200, json: { seq: 1 } })
    expect(await repository.ask('POST', '/v1/identities', operationsOf(rotated))).toMatchObject({ status: 200 })
  })

  it('are not taken over by a key of lower priority, nor after the window', async () => {
    const [high, low] = [signerFrom(numbered(5, 1)), signerFrom(numbered(5, 2))]
    const first = genesis([high, low], NOW)
    const state = applyOperation(undefined, first, NOW)
    const byLow = rotate(state, [low.key], NOW, low)
    const byHigh = rotate(state, [high.key], NOW, high)
    const repository = testRepository()
    await repository.ask('POST', '/v1/identities', operationsOf(first, byLow))
    repository.setNow(NOW + limits.recoveryWindowMs)
    expect(await repository.ask('POST', '/v1/identities', operationsOf(first, byHigh))).toMatchObject({ status: 201 })
    expect(await repository.ask('POST', '/v1/identities', operationsOf(first, byLow))).toMatchObject({
      status: 409,
      json: { code: 'conflict' },
    })
    repository.setNow(NOW + 9 * DAY)
    const { json } = await repository.get(`/v1/identities/${toHex(state.id)}`)
    expect(json).toMatchObject({ keys: [toHex(high.key)] })
  })

  it('that nobody made known are not found', async () => {
    const repository = testRepository()
    expect(await repository.get(`/v1/identities/${toHex(ann.id)}`)).toMatchObject({
      status: 404,
      json: { code: 'not-found' },
    })
    expect(await repository.ask('POST', '/v1/identities', operationsOf(rotated))).toMatchObject({ status: 404 })
  })

  it('survive many that come at once', async () => {
    const repository = testRepository()
    const crowd = Array.from({ length: 30 }, () =>
      repository.ask('POST', '/v1/identities', operationsOf(...ann.operations)),
    )
    const statuses = (await Promise.all(crowd)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 201)).toHaveLength(1)
    expect(statuses.filter((status) => status === 200)).toHaveLength(29)
  })
})
