import { describe, expect, it } from 'vitest'
import { customResource, type Duties } from '../../infra/lambda/custom-resource.ts'
import { SettingError } from '../../infra/service-process.ts'
import { Problem } from '../../protocol/problem.ts'
import { handClock } from '../agent/hand-clock.ts'

const ASKED = {
  RequestType: 'Delete',
  ResponseURL: 'https://answers.example/1',
  StackId: 'stack',
  RequestId: '1',
  LogicalResourceId: 'Claim',
}
const DUTIES: Duties = { arrive: async () => ({ Made: 'yes' }), leave: async () => undefined }

interface Answer {
  readonly Status: string
  readonly Reason?: string
  readonly Data?: object
}

/** A function of five minutes that is told of its stack. */
function told(duties: Partial<Duties>, status = 200) {
  const clock = handClock()
  const answers: Answer[] = []
  const faults: unknown[] = []
  const transport = async (request: Request): Promise<Response> => {
    answers.push((await request.json()) as Answer)
    return new Response(null, { status })
  }
  const handler = customResource({ clock, transport }, { ...DUTIES, ...duties }, (fault) => void faults.push(fault))
  const endMs = clock.now() + 300_000
  const invocation = { getRemainingTimeInMillis: () => endMs - clock.now() }
  const tell = (RequestType: string) => clock.until(handler({ ...ASKED, RequestType }, invocation))
  return { clock, answers, faults, tell }
}

describe('a custom resource', () => {
  it('is made, and goes', async () => {
    const { answers, tell } = told({})
    for (const type of ['Create', 'Delete']) await tell(type)
    expect(answers).toMatchObject([
      { Status: 'SUCCESS', PhysicalResourceId: 'Claim', Data: { Made: 'yes' }, NoEcho: true },
      { Status: 'SUCCESS', PhysicalResourceId: 'Claim', Data: {} },
    ])
  })

  it('answers while its function has time left, also where what it has to do takes longer', async () => {
    const { clock, answers, tell } = told({ leave: () => new Promise(() => undefined) })
    const startedMs = clock.now()
    await tell('Delete')
    expect(clock.now() - startedMs).toBe(280_000)
    const Reason = 'It takes longer: delete the stack again, and it goes on.'
    expect(answers).toMatchObject([{ Status: 'FAILED', Reason }])
  })

  it.each([
    [new Problem('peer-failed', 'The ledger did not answer.'), 'peer-failed: The ledger did not answer.'],
    [new SettingError('set LEDGER_ORIGIN'), 'set LEDGER_ORIGIN'],
    [Object.assign(new Error('Key 1f2e… of 123456789012'), { name: 'AccessDeniedException' }), 'AccessDeniedException'],
    ['what is no error', 'Error'],
  ])('says why, as the log may go with the stack, and nothing that may be a secret: %s', async (fault, why) => {
    const { answers, faults, tell } = told({ arrive: () => Promise.reject(fault) })
    await tell('Create')
    expect(answers).toMatchObject([
      { Status: 'FAILED', Reason: `${why} (The log of the function says more, while it is there.)` },
    ])
    expect(faults).toEqual([fault])
  })

  it('keeps to what CloudFormation takes, however long the reason', async () => {
    const { answers, tell } = told({ leave: () => Promise.reject(new Problem('peer-failed', 'x'.repeat(9000))) })
    await tell('Delete')
    expect(JSON.stringify(answers[0]).length).toBeLessThan(4096)
  })

  it('is told again where CloudFormation does not take its answer', async () => {
    const { answers, tell } = told({}, 503)
    await expect(tell('Delete')).rejects.toThrow('503')
    expect(answers).toHaveLength(1)
  })
})
