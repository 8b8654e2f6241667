/** The network of three stacks with two agents, a file in the neighbour's bucket, and one paid download of it. */
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createHash, randomBytes } from 'node:crypto'
import type { AccountOptions } from './account.ts'
import { openCloud, type Cloud, type Deployed, type Template } from './cloud.ts'
import { createOwner, type DeployedOwner } from './owner.ts'

export interface Exchange {
  readonly cloud: Cloud
  readonly ledger: Deployed
  readonly repository: Deployed
  readonly you: Party
  readonly neighbour: Party
}

export interface Party {
  readonly stack: Deployed
  readonly owner: DeployedOwner
}

export interface DownloadJson {
  readonly id: string
  readonly state: string
  readonly paid: string
  readonly ticks: number
  readonly pieces: number
  readonly piecesDone: number
  readonly file?: string
  readonly reason?: string
  readonly detail?: string
}

const FAUCET = '100000'
const LOOK_MS = 500
const PART_BYTES = 16 * 1024 * 1024

export interface ExchangeOptions extends Partial<AccountOptions> {
  /** The template of your agent, where it is not the synthesized one. */
  readonly yours?: Template
}

export async function openExchange(outdir: string, { yours, ...options }: ExchangeOptions = {}): Promise<Exchange> {
  const stacks = ['ledger', 'repository', 'you', 'neighbour'].map((name) => `raincheck-network-${name}`)
  const cloud = await openCloud(outdir, stacks, options)
  const bootstrap = { BootstrapVersion: '21' }
  const ledger = await cloud.deploy('raincheck-network-ledger', { ...bootstrap, Faucet: FAUCET })
  const repository = await cloud.deploy('raincheck-network-repository', bootstrap)
  const services = {
    LedgerUrl: ledger.outputs['Url'] ?? '',
    RepositoryUrl: repository.outputs['Url'] ?? '',
    Witnesses: ledger.outputs['Witnesses'] ?? '',
  }
  const party = async (name: string, template?: Template): Promise<Party> => {
    const stack = await cloud.deploy(`raincheck-network-${name}`, { ...bootstrap, ...services }, template)
    const owner = await createOwner(stack.outputs['Url'] ?? '')
    const claimed = await owner.claim(stack.outputs['ClaimSecret'])
    if (claimed.id !== owner.id) throw new Error(`${name}: ${JSON.stringify(claimed)}`)
    return { stack, owner }
  }
  return { cloud, ledger, repository, you: await party('you', yours), neighbour: await party('neighbour') }
}

/** An instance may die under a request: who asks, asks again. */
export async function again<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await ask()
      if (!(answer instanceof Response) || answer.status < 500 || attempt === 8) return answer
    } catch (error) {
      if (attempt === 8) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100 * attempt))
  }
}

/** @returns its SHA-256, hex */
export async function putFile({ cloud, neighbour }: Exchange, name: string, bytes: number): Promise<string> {
  const content = randomBytes(bytes)
  const client = s3Client(cloud)
  await client.send(new PutObjectCommand({ Bucket: neighbour.stack.outputs['Bucket'], Key: name, Body: content }))
  client.destroy()
  return sha256(content)
}

/** @returns the SHA-256 of what lies in your bucket, hex */
export async function hashOf({ cloud, you }: Exchange, name: string, bytes: number): Promise<string> {
  const client = s3Client(cloud)
  const hash = createHash('sha256')
  for (let at = 0; at < bytes; at += PART_BYTES) {
    const range = `bytes=${at}-${Math.min(at + PART_BYTES, bytes) - 1}`
    const { Body: body } = await client.send(
      new GetObjectCommand({ Bucket: you.stack.outputs['Bucket'], Key: name, Range: range }),
    )
    hash.update((await body?.transformToByteArray()) ?? new Uint8Array())
  }
  client.destroy()
  return hash.digest('hex')
}

/** Shares it, downloads it to the link named, and looks until the download has ended. @throws with what the functions logged when it fails */
export async function exchange(
  { cloud, you, neighbour }: Exchange,
  name: string,
  target: { readonly link?: string } = {},
): Promise<DownloadJson> {
  const share = () => neighbour.owner.ask<{ infoHash: string }>('POST', '/v1/shares', { path: name, price: '2' })
  const { infoHash } = await again(share)
  const start = () => you.owner.ask<DownloadJson>('POST', '/v1/downloads', { source: infoHash, ...target })
  let download = await again(start)
  while (download.state !== 'done' && download.state !== 'failed') {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    download = await again(() => you.owner.ask<DownloadJson>('GET', `/v1/downloads/${download.id}`))
  }
  await new Promise((resolve) => setTimeout(resolve, download.state === 'done' ? 0 : 2 * LOOK_MS))
  if (download.state !== 'done') throw new Error(`${JSON.stringify(download)}\n${cloud.log.slice(-20).join('\n')}`)
  return download
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const s3Client = ({ s3Url }: Cloud): S3Client =>
  new S3Client({
    endpoint: s3Url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'AKIALOCAL', secretAccessKey: 'local-secret' },
  })
