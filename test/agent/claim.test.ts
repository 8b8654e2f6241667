import { describe, expect, it } from 'vitest'
import { delegateTo, USUAL_CAPS } from '../../agent/adopt.ts'
import { claimSecret, createClaims, type ClaimRequest } from '../../agent/claim.ts'
import type { LedgerClient } from '../../agent/clients/ledger-client.ts'
import type { RepositoryClient } from '../../agent/clients/repository-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { applyOperation, genesis, rotate } from '../../protocol/identity.ts'
import { objectId, signerFrom } from '../../protocol/signed.ts'
import { createChance } from '../simulation/chance.ts'

const NOW_MS = Date.UTC(2030, 0, 1)
const URL_HERE = 'https://agent.example'
const secret = new Uint8Array(32).fill(5)

function open() {
  const told: string[] = []
  const tell = (what: string) => async (): Promise<never> => void told.push(what) as never
  const ledger = { register: tell('register'), rotate: tell('rotate'), delegate: tell('delegate') }
  const repository = { putIdentity: tell('identity') }
  const environment = {
    clock: { now: () => NOW_MS, sleep: () => Promise.resolve() },
    random: createChance('claim'),
    transport: () => Promise.reject(new Error('nobody is called')),
  } as unknown as Environment
  const services = {
    ledger: ledger as Partial<LedgerClient> as LedgerClient,
    repository: repository as Partial<RepositoryClient> as RepositoryClient,
  }
  return { claims: createClaims({ environment, store: openSqlite(':memory:'), secret, ...services }), told }
}

interface Asked {
  readonly shown?: string
  readonly issued?: number
  readonly agent?: Uint8Array<ArrayBuffer>
  readonly signer?: number
  readonly owner?: Uint8Array<ArrayBuffer>
}

function claimOf(
  byte: number,
  { shown, issued = NOW_MS, agent = signerFrom(secret).key, signer = byte, owner }: Asked = {},
): ClaimRequest {
  const operation = genesis([signerFrom(new Uint8Array(32).fill(byte))], NOW_MS)
  const delegation = delegateTo({
    owner: owner ?? objectId('identity', operation.body),
    signer: signerFrom(new Uint8Array(32).fill(signer)),
    agent,
    ledgerId: '00'.repeat(32),
    caps: USUAL_CAPS,
    nowMs: issued,
  })
  return { secret: shown, operations: [operation], delegation, url: URL_HERE }
}

const signerOf = (byte: number) => signerFrom(new Uint8Array(32).fill(byte))
const idOf = ({ operations: [first] }: ClaimRequest): string =>
  toHex(objectId('identity', first?.body ?? new Uint8Array()))

describe('a deployed agent', () => {
  it('has a secret that a command takes for no option', () => {
    const random = createChance('secrets')
    const secrets = Array.from({ length: 500 }, () => claimSecret(random.bytes(32)))
    expect(secrets.filter((one) => !/^[A-Za-z0-9_][A-Za-z0-9_-]{19}$/.test(one))).toEqual([])
  })

  it('is whose who shows the secret, and the ledger and the repository know before it does', async () => {
    const { claims, told } = open()
    expect(await claims.current()).toBeUndefined()
    const request = claimOf(1, { shown: claimSecret(secret) })
    const owned = await claims.claim(request)
    expect(toHex(owned.owner)).toBe(idOf(request))
    expect(told).toEqual(['register', 'identity', 'delegate'])
    expect(await claims.current()).toMatchObject({ url: URL_HERE, operations: request.operations })
  })

  it.each([
    ['without the secret', claimOf(1), 'forbidden'],
    ['with another', claimOf(1, { shown: 'AAAAAAAAAAAAAAAAAAAA' }), 'forbidden'],
    [
      'with a delegation to another agent',
      claimOf(1, { shown: claimSecret(secret), agent: signerFrom(new Uint8Array(32).fill(6)).key }),
      'bad-request',
    ],
    ['with a delegation that another signed', claimOf(1, { shown: claimSecret(secret), signer: 2 }), 'unknown-key'],
    [
      'with a delegation of another owner who has the same key',
      claimOf(1, { shown: claimSecret(secret), owner: new Uint8Array(32).fill(9) }),
      'unknown-key',
    ],
    ['without an identity', { ...claimOf(1, { shown: claimSecret(secret) }), operations: [] }, 'bad-request'],
  ])('is nobody’s who claims it %s', async (_, request, code) => {
    const { claims, told } = open()
    await expect(claims.claim(request)).rejects.toMatchObject({ code })
    expect(await claims.current()).toBeUndefined()
    expect(told).toEqual([])
  })

  it('is claimed once: the secret opens nothing any more', async () => {
    const { claims, told } = open()
    const mine = claimOf(1, { shown: claimSecret(secret) })
    await claims.claim(mine)
    const [owned, { length }] = [await claims.current(), told]
    await expect(claims.claim(claimOf(2, { shown: claimSecret(secret) }))).rejects.toMatchObject({ code: 'conflict' })
    expect(toHex((await claims.claim(mine)).owner)).toBe(idOf(mine))
    // Again, it is told to nobody, and nobody takes it for news.
    expect([await claims.current(), told.length]).toEqual([owned, length])
    expect(await claims.current()).toBe(owned)
  })

  it('takes a later delegation of its owner without the secret, and no earlier one', async () => {
    const { claims } = open()
    await claims.claim(claimOf(1, { shown: claimSecret(secret) }))
    const later = claimOf(1, { issued: NOW_MS + 1000 })
    await claims.claim(later)
    await expect(claims.claim(claimOf(1))).rejects.toMatchObject({ code: 'stale-request' })
    expect((await claims.current())?.delegation).toEqual(later.delegation)
  })

  it('goes back to no earlier keys of its owner, whoever shows what was shown before', async () => {
    const { claims } = open()
    const [stolen, next, everyday] = [signerOf(7), signerOf(8), signerOf(1)]
    const first = genesis([stolen, everyday], NOW_MS)
    const state = applyOperation(undefined, first, NOW_MS)
    const later = rotate(state, [next.key, everyday.key], NOW_MS, stolen)
    const { delegation } = claimOf(1, { owner: state.id })
    const mine = { secret: claimSecret(secret), operations: [first, later], delegation, url: URL_HERE }
    await claims.claim(mine)
    await claims.claim({ operations: [first], delegation, url: URL_HERE })
    expect((await claims.current())?.operations).toEqual([first, later])
    const other = rotate(state, [stolen.key], NOW_MS + 1, everyday)
    const taken = claimOf(7, { owner: state.id, issued: NOW_MS + 1 })
    await expect(claims.claim({ ...taken, operations: [first, other] })).rejects.toMatchObject({ code: 'conflict' })
    expect((await claims.current())?.operations).toEqual([first, later])
  })
})
