/**
 * Entry points of an agent on Lambda: `main` behind its function URL, on a schedule, and when its stack comes and goes;
 * `download`, a durable function that works a download off in shifts. AGENT_STORE names the table,
 * AGENT_KEY_PARAMETER the parameter with the agent's key, DOWNLOAD_FUNCTION the durable function, AGENT_BUCKET a bucket of
 * the owner's that is linked from the start; AGENT_URL is the agent's address where that is not its function URL;
 * AGENT_WITNESSES is the policy of the ledger's witnesses itself, AGENT_REPOSITORY_WITNESSES that of the repository's, as
 * there are no files here; SELL_MODES and STAKE_MOST say how it deals, SPEND_MOST and SERVE_MOST how much of it a day. What
 * of this may change, `download` has from `main`: its own variables are as old as its version.
 */
import { agentWorld } from '../infra/agent-world.ts'
import { realEnvironment } from '../infra/environment.ts'
import { bucketSpool } from '../infra/lambda/bucket-spool.ts'
import { customResource } from '../infra/lambda/custom-resource.ts'
import { urlHandler, type LambdaStreaming, type UrlEvent } from '../infra/lambda/function-url.ts'
import { once, onceFor } from '../infra/lambda/once.ts'
import {
  deleteParameterKey,
  findParameterKey,
  openParameterKey,
  requireParameterKey,
} from '../infra/lambda/parameter-key.ts'
import { policySetting } from '../infra/lambda/policy-setting.ts'
import { LIVE, wakeFunction } from '../infra/lambda/wake-function.ts'
import { settings, type Settings } from '../infra/service-process.ts'
import { stdoutLines } from '../infra/stdout-lines.ts'
import { openStore } from '../infra/store/open.ts'
import { signerFrom } from '../protocol/signed.ts'
import { createAgent, type Agent } from './agent.ts'
import { mountClaim } from './api/claim-api.ts'
import { createUnclaimedApp } from './api/unclaimed.ts'
import { claimSecret, createClaims, type Owned } from './claim.ts'
import { createLedgerClient } from './clients/ledger-client.ts'
import { createRepositoryClient } from './clients/repository-client.ts'
import { readDashboard } from './dashboard/dashboard-node.ts'
import { dealing } from './dealing.ts'
import { pieceClientNode } from './download/piece-client-node.ts'
import { USUAL_FAN_OUT } from './download/stretches.ts'
import { usualCaps } from './guard/usual-caps.ts'
import { leave } from './leave.ts'
import { createLogWatch } from './ledger-watch/log-watch.ts'
import { watchLedger } from './ledger-watch/watched-ledger.ts'
import { createOwnedAgent } from './owned-agent.ts'
import { createLinks } from './storage/links.ts'
import { providerHosts } from './storage/providers.ts'
import { createSecrets } from './storage/secrets.ts'
import { tellSettings, toldSettings } from './told-settings.ts'

declare const awslambda: LambdaStreaming

/** Well within the 15 minutes of a function. */
const SHIFT_MS = 10 * 60_000
/** Two rounds of chores. */
const LATE_MS = 10 * 60_000
/** What one try to take a download away may take. */
const LEAVE_MS = 60_000

/** Within the 200 MB that a function streams. */
const ANSWER_BYTES = 190 * 1024 ** 2

const set = settings(process.env)
const log = stdoutLines(realEnvironment().clock, set.optional('STACK_NAME', ''))

const keyName = (): string => set.required('AGENT_KEY_PARAMETER')

const openTable = once(() => openStore(set.required('AGENT_STORE')))

/** What does not depend on whose the agent is. */
async function groundBy({ required, optional }: Settings) {
  const allowLoopback = set.optional('RAINCHECK_ALLOW_LOOPBACK', '') === '1'
  const [ledgerUrl, repositoryUrl] = [required('LEDGER_URL'), required('REPOSITORY_URL')]
  const hosts = providerHosts(set.optional)
  const services = [ledgerUrl, repositoryUrl]
  const { environment, pin } = agentWorld({ real: realEnvironment(), services, hosts, allowLoopback })
  const [secret, store] = await Promise.all([requireParameterKey(keyName()), openTable()])
  const ledger = createLedgerClient({ environment, url: ledgerUrl })
  const repository = createRepositoryClient({ environment, url: repositoryUrl })
  const claims = createClaims({ environment, store, secret, ledger, repository })
  const linkAccess = { secrets: createSecrets(secret, environment.random), hosts }
  return {
    environment,
    secret,
    signer: signerFrom(secret),
    store,
    ledger,
    repository,
    claims,
    linkAccess,
    pin,
    allowLoopback,
    witnesses: policySetting({ optional }, 'AGENT_WITNESSES'),
    repositoryWitnesses: policySetting({ optional }, 'AGENT_REPOSITORY_WITNESSES'),
    dealing: dealing(optional),
    caps: usualCaps(optional, true),
  }
}

type Ground = Awaited<ReturnType<typeof groundBy>>

/** Of `main`, which is of no version: its variables are those of the latest deployment. */
const ground = once(async () => {
  const base = await groundBy(set)
  await tellSettings(base.store, process.env)
  return base
})

/** A worker wakes others of its kind; the runtime says which that is. */
const ownName = (): string => `${set.required('AWS_LAMBDA_FUNCTION_NAME')}:${LIVE}`

/** @param isWorker runs downloads itself; else they are handed to the durable function */
async function open(base: Ground, owned: Owned, isWorker: boolean): Promise<Agent> {
  const { environment, store, signer, repository, linkAccess, pin, allowLoopback } = base
  const { witnesses: policy, repositoryWitnesses } = base
  const watch = createLogWatch({
    environment,
    store,
    ledger: base.ledger,
    owner: owned.owner,
    ...(policy && { policy }),
  })
  const ledger = watchLedger(base.ledger, watch)
  const demanded = repositoryWitnesses && { repositoryWitnesses }
  const services = { ledger, watch, repository, ...demanded, publicUrl: owned.url, allowLoopback }
  const bucket = set.optional('AGENT_BUCKET', '')
  const here = { sendsFrom: 's3', answerBytes: ANSWER_BYTES, ...(bucket !== '' && { openSpool: bucketSpool(bucket) }) }
  const context = { ...owned, environment, store, signer, ...services, ...base.dealing, ...here }
  return createAgent(context, {
    pieceClient: pieceClientNode(pin),
    linkAccess,
    caps: base.caps,
    onCapReached: (cap) => log.capReached(cap),
    ...(isWorker
      ? { fanOut: { ...USUAL_FAN_OUT, wake: wakeFunction(ownName(), environment.clock) } }
      : { wake: wakeFunction(set.required('DOWNLOAD_FUNCTION'), environment.clock) }),
    dashboard: await readDashboard(),
    onFault: log.fault,
  })
}

const claimApi = ({ claims, signer, ledger, repository }: Ground) => ({
  claims,
  key: signer.key,
  ledger,
  repositoryUrl: repository.url,
  urlOf: (request: Request) => set.optional('AGENT_URL', new URL(request.url).origin),
})

const agentOn = (base: Ground, isWorker: boolean) =>
  createOwnedAgent({
    clock: base.environment.clock,
    claims: base.claims,
    async open(owned) {
      const agent = await open(base, owned, isWorker)
      mountClaim(agent.app, claimApi(base))
      return agent
    },
  })

const front = once(async () => agentOn(await ground(), false))
const openFront = async (): Promise<Agent | undefined> => (await front())()

const worker = onceFor(async (told) => {
  const variables = JSON.parse(told) as Record<string, string>
  return agentOn(await groundBy(settings({ ...process.env, ...variables })), true)
})
/** Asked for each shift: one execution may have many of them. */
const openWorker = async (): Promise<Agent | undefined> => (await worker(await toldSettings(await openTable())))()

const url = urlHandler(
  async () => {
    const base = await ground()
    const agent = await openFront()
    const { app } =
      agent ?? createUnclaimedApp({ ...claimApi(base), dashboard: await readDashboard(), onFault: log.fault })
    return app.fetch
  },
  awslambda,
  log,
)

async function chores(): Promise<void> {
  const agent = await openFront()
  await agent?.maintain()
  await agent?.resumeAll()
  // What this round should have redeemed, and the one before.
  if (agent) log.waits(await agent.seller.lateMs(), LATE_MS)
}

/** Loaded by workers alone: an instance that sells starts without it. */
const durable = once(async () => {
  const { durableShifts } = await import('../infra/lambda/durable-shifts.ts')
  return durableShifts(async (id) => {
    const ended = log.beginShift()
    const agent = await openWorker()
    const rest = (await agent?.work(id, AbortSignal.timeout(SHIFT_MS))) ?? { isOver: true }
    ended(rest.isOver)
    return rest
  }, realEnvironment().clock)
})

type DurableHandler = Awaited<ReturnType<typeof durable>>

export const download = async (...event: Parameters<DurableHandler>): Promise<unknown> => (await durable())(...event)

const setup = customResource(
  realEnvironment(),
  {
    async arrive() {
      await openParameterKey(keyName(), realEnvironment().random)
      const { secret, store, environment, linkAccess } = await ground()
      const bucket = set.optional('AGENT_BUCKET', '')
      if (bucket !== '') await createLinks({ store, environment }, linkAccess).add('s3', { bucket })
      return { ClaimSecret: claimSecret(secret) }
    },
    async leave() {
      // Told twice, it has left already.
      if (!(await findParameterKey(keyName()))) return
      const [agent, worker] = [await openFront(), await openWorker()]
      const { clock } = realEnvironment()
      if (agent && worker)
        await leave({ clock, agent, work: (id) => worker.downloads.work(id, AbortSignal.timeout(LEAVE_MS)) })
      await deleteParameterKey(keyName())
    },
  },
  log.fault,
)

type MainEvent = UrlEvent | { readonly task: 'chores' } | { readonly RequestType: string }

export const main = awslambda.streamifyResponse<MainEvent>(async (event, stream, invocation) => {
  if ('requestContext' in event) return url(event, stream, invocation)
  await ('task' in event ? chores() : setup(event, invocation))
  stream.end()
})
