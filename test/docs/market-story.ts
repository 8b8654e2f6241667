/** A repository, a seller and a buyer, from being made known to a download that is done. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAgent, type Agent } from '../../agent/agent.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex } from '../../protocol/bytes.ts'
import { signRequest } from '../../protocol/http-signature.ts'
import { envelopeToJson, type Envelope, type Signer } from '../../protocol/signed.ts'
import { bookToJson } from '../../protocol/vouch.ts'
import { createRepository } from '../../repository/repository.ts'
import * as cast from './cast.ts'
import type { Example } from './example.ts'
import { openLedger } from './ledger-story.ts'
import { book } from './objects.ts'
import { buy } from './purchase.ts'
import { createRecorder, get, send, type Recorder } from './recorder.ts'

const SIGNATURE = ['content-digest', 'signature-input', 'signature']

/** An owner who asks their agent. */
export interface Owner {
  /** @param shown with the headers of the signature */
  ask(name: string, method: string, path: string, body?: unknown, shown?: boolean): Promise<unknown>
}

export interface Fair extends Recorder {
  readonly seller: Agent
  readonly sellerOwner: Owner
  readonly buyerOwner: Owner
  readonly buyer: Agent
  readonly closers: (() => Promise<unknown>)[]
}

export async function marketExamples(): Promise<ReadonlyMap<string, Example>> {
  const recorder = createRecorder()
  const folder = await mkdtemp(join(tmpdir(), 'raincheck-docs-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true })]
  try {
    await openServices(recorder)
    const [seller, sellerOwner] = openStall(recorder, cast.payee, cast.SELLER_URL)
    const [buyer, buyerOwner] = openStall(recorder, cast.payer, cast.BUYER_URL)
    const fair: Fair = { ...recorder, seller, sellerOwner, buyer, buyerOwner, closers }
    closers.push(() => buyer.stop())
    await offer(fair, folder)
    await discover(fair)
    await trust(fair)
    await buy(fair)
    await download(fair, folder)
    await gather(fair)
    return masked(recorder.examples, folder)
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function openServices(recorder: Recorder): Promise<void> {
  const { environment, attach, clock } = recorder
  const ledger = openLedger(recorder)
  const repository = createRepository({ environment, store: openSqlite(':memory:') })
  attach('ledger.example', ledger.app.fetch)
  attach('repository.example', repository.app.fetch)
  const post = (url: string, body: unknown) => environment.transport(send('POST', url, body))
  for (const { operations, delegation } of [cast.payer, cast.payee, cast.friend]) {
    clock.advance(1_000)
    const [identity] = operations.map(envelopeToJson)
    await post(`${cast.LEDGER_URL}/v1/accounts`, { identity })
    await post(`${cast.LEDGER_URL}/v1/delegations`, { delegation: envelopeToJson(delegation) })
  }
  const operationsOf = ({ operations }: { operations: readonly Envelope[] }) => ({
    operations: operations.map(envelopeToJson),
  })
  await recorder.record(
    'repository.identity',
    send('POST', `${cast.REPOSITORY_URL}/v1/identities`, operationsOf(cast.payer)),
  )
  await recorder.record('repository.get-identity', get(`${cast.REPOSITORY_URL}/v1/identities/${toHex(cast.payer.id)}`))
  await post(`${cast.REPOSITORY_URL}/v1/identities`, operationsOf(cast.payee))
}

function openStall(recorder: Recorder, party: cast.Party, publicUrl: string): [Agent, Owner] {
  const agent = openAgent(recorder, party, publicUrl)
  recorder.attach(new URL(publicUrl).host, agent.app.fetch)
  return [agent, ownerOf(recorder, party.owner, toHex(party.id), publicUrl)]
}

export function openAgent({ environment }: Recorder, party: cast.Party, publicUrl: string): Agent {
  const context = {
    environment,
    store: openSqlite(':memory:'),
    owner: party.id,
    operations: party.operations,
    delegation: party.delegation,
    signer: party.agent,
    publicUrl,
    allowLoopback: false,
    ledger: createLedgerClient({ environment, url: cast.LEDGER_URL }),
    repository: createRepositoryClient({ environment, url: cast.REPOSITORY_URL }),
  }
  return createAgent(context, {
    pieceClient: pieceClientOver(environment.transport),
    pieceLength: cast.PIECE_BYTES,
    onFault: (error) => {
      throw error
    },
  })
}

function ownerOf({ record, clock }: Recorder, signer: Signer, audience: string, url: string): Owner {
  let asked = 0
  return {
    async ask(name, method, path, body, shown = false) {
      const nonce = `nonce-of-request-${++asked}`
      const init =
        body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
      const request = new Request(url + path, { method, ...init })
      const signed = await signRequest(request, { signer, audience, nowMs: clock.now(), nonce })
      const response = await record(name, signed, shown ? {} : { without: SIGNATURE })
      return response.json()
    },
  }
}

async function offer({ sellerOwner, record, watch }: Fair, folder: string): Promise<void> {
  await writeFile(join(await folderIn(folder, 'seller'), cast.FILM_NAME), cast.FILM)
  await record('agent.profile', get(`${cast.SELLER_URL}/.well-known/raincheck`))
  await sellerOwner.ask('owner.link', 'POST', '/v1/links', {
    kind: 'folder',
    path: join(folder, 'seller'),
    name: 'drive',
  })
  watch('repository.put-content', 'PUT', /^\/v1\/contents\/[^/]+$/)
  watch('repository.announce', 'POST', /^\/v1\/announcements$/)
  watch('repository.put-leaves', 'PUT', /leaves$/)
  watch('repository.put-edition', 'POST', /^\/v1\/editions$/)
  await sellerOwner.ask(
    'owner.share',
    'POST',
    '/v1/shares',
    { path: cast.FILM_NAME, price: '3', series: 'films' },
    true,
  )
  await sellerOwner.ask('owner.shares', 'GET', '/v1/shares')
}

async function discover({ record }: Fair): Promise<void> {
  const ask = (name: string, path: string) => record(name, get(cast.REPOSITORY_URL + path))
  const content = `/v1/contents/${toHex(cast.film.meta.infoHash)}`
  await ask('repository.search', '/v1/search?query=film')
  await ask('repository.content', content)
  await ask('repository.hashes', `${content}?pieceLength=65536&file=0`)
  await ask('repository.torrent', `/v1/contents/${toHex(cast.film.meta.infoHashV1)}/torrent`)
  await ask('repository.editions', `/v1/editions/${toHex(cast.payee.id)}`)
  await ask('repository.swarm', `${content}/swarm?for=${toHex(cast.payer.id)}`)
}

async function trust({ sellerOwner, record, watch }: Fair): Promise<void> {
  watch('repository.put-book', 'PUT', /^\/v1\/books\//)
  await sellerOwner.ask('owner.put-trust', 'PUT', '/v1/trust', { book: bookToJson(book), distrusted: [] })
  await sellerOwner.ask('owner.verdict', 'GET', `/v1/trust/${toHex(cast.payer.id)}`)
  await record('repository.book', get(`${cast.REPOSITORY_URL}/v1/books/${toHex(cast.payee.id)}`))
  const query = `from=${toHex(cast.payee.id)}&to=${toHex(cast.payer.id)}`
  await record('repository.chains', get(`${cast.REPOSITORY_URL}/v1/chains?${query}`))
  await sellerOwner.ask('owner.preview', 'POST', `/v1/trust/${toHex(cast.payer.id)}/distrust`, { preview: true })
}

async function download({ buyer, buyerOwner, sellerOwner }: Fair, folder: string): Promise<void> {
  await buyer.links.add('folder', { path: await folderIn(folder, 'buyer'), name: 'drive' })
  const source = toHex(cast.film.meta.infoHash)
  const { id } = (await buyerOwner.ask('owner.download', 'POST', '/v1/downloads', { source, maxPrice: '5' })) as {
    id: string
  }
  await buyer.downloads.wait(id)
  await buyerOwner.ask('owner.follow', 'PUT', `/v1/follows/${toHex(cast.payee.id)}`, { names: ['films'] })
  await buyerOwner.ask('owner.alerts', 'GET', '/v1/alerts')
  await buyerOwner.ask('owner.download-done', 'GET', `/v1/downloads/${id}`)
  await sellerOwner.ask('owner.balance', 'GET', '/v1/balance')
  await sellerOwner.ask('owner.usage', 'GET', '/v1/usage?since=0')
  await sellerOwner.ask('owner.statement', 'GET', '/v1/statements/usage?from=2027-01-01&to=2027-01-31')
  await sellerOwner.ask('owner.guard', 'PUT', '/v1/guard', { spend: '500', serve: 3_221_225_472 })
}

/** The seller's circle, which the buyer is in, and the seller as a broker. */
async function gather({ sellerOwner, buyerOwner, record, clock }: Fair): Promise<void> {
  await sellerOwner.ask('owner.circle', 'PUT', '/v1/circles/lab', { kind: 'bubble', add: [toHex(cast.payer.id)] })
  await buyerOwner.ask('owner.join', 'PUT', '/v1/circles/lab', { url: cast.SELLER_URL })
  await record('agent.circle', get(`${cast.SELLER_URL}/v1/sessions/lab`))
  const { operations, delegation, agent: signer } = cast.payer
  const body = { operations: operations.map(envelopeToJson), delegation: envelopeToJson(delegation) }
  const options = { signer, audience: toHex(cast.payee.id), nowMs: clock.now(), nonce: 'nonce-of-session-1' }
  const url = `${cast.SELLER_URL}/v1/sessions/lab`
  const granted = await record('agent.grant', await signRequest(send('POST', url, body), options))
  const { session } = (await granted.json()) as { session: string }
  await buyerOwner.ask('owner.brokers', 'PUT', '/v1/brokers', { brokers: [cast.SELLER_URL] })
  await record('agent.swarm', get(`${cast.SELLER_URL}/v1/contents/${toHex(cast.film.meta.infoHash)}/swarm`))
  await record('agent.validate', send('POST', `${url}/validations`, { session }))
}

async function folderIn(folder: string, name: string): Promise<string> {
  await mkdir(join(folder, name))
  return join(folder, name)
}

/** Where the folder lies, and how full the disk is, is not part of the story. */
function masked(examples: ReadonlyMap<string, Example>, folder: string): ReadonlyMap<string, Example> {
  return new Map(
    Array.from(examples, ([name, example]) => {
      const text = example.text
        .replaceAll(join(folder, 'seller'), '/srv/drive')
        .replaceAll(
          /"(total|used)": \d{6,}/g,
          (_, member: string) => `"${member}": ${member === 'total' ? 1_000_000_000_000 : 250_000_000_000}`,
        )
      return [name, { ...example, text }]
    }),
  )
}
