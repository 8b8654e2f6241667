import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Template } from './cloud.ts'
import { dollars, idleMonth } from './cost.ts'
import { ALARMS, figure, ownersBy, ownersTable, QUOTAS } from './owners.ts'
import { makeTemplateOnce } from './synth-once.ts'

const PAGE = fileURLToPath(new URL('../../docs/AWS.md', import.meta.url))
const OWNERS = 10_000

let template: Template
beforeAll(async () => {
  ;({ template } = await makeTemplateOnce())
}, 180_000)

describe('how many owners an AWS account takes', () => {
  it('stands in AWS.md as the template makes it', async () => {
    const place = /(<!-- table: owners -->\n)[^]*?(\n?<!-- \/table -->)/
    const page = readFileSync(PAGE, 'utf8')
    expect(page).toMatch(place)
    const now = page.replace(place, (_, start: string) => `${start}\n${ownersTable(template)}\n\n<!-- /table -->`)
    await expect(now).toMatchFileSnapshot(PAGE)
  })

  it('and how to go further is said in the same numbers', () => {
    const { rules, roles } = QUOTAS
    const most = ownersBy(roles, template, roles.most)
    const said = [
      `**${ownersBy(rules, template)} owners in a region, ${ownersBy(roles, template)} in an account**`,
      `${figure(most)} owners an account`,
      `${figure(OWNERS)} owners are ${OWNERS / most} accounts`,
      `$${Math.round((dollars(idleMonth()) * OWNERS) / 10) * 10} a month`,
      `${figure(ownersBy(ALARMS, template))} owners in a region`,
    ]
    const page = readFileSync(PAGE, 'utf8').replaceAll(/\s+/g, ' ')
    expect(said.filter((words) => !page.includes(words))).toEqual([])
  })

  it('is bound by nothing else that the template makes', () => {
    const types = Object.values(template.Resources).map(({ Type }) => Type)
    expect([...new Set(types)].filter((type) => !COUNTED.has(type) && !FREE.test(type))).toEqual([])
  })
})

const COUNTED = new Set([
  'AWS::CloudWatch::Alarm',
  'AWS::DynamoDB::GlobalTable',
  'AWS::Events::Rule',
  'AWS::IAM::Role',
  'AWS::Lambda::Function',
  'AWS::Lambda::Version',
  'AWS::Logs::LogGroup',
  'AWS::S3::Bucket',
])
/** Parts of what is counted, and what comes with the alarms. */
const FREE =
  /^AWS::(?:IAM::Policy|Lambda::(?:Alias|EventInvokeConfig|Permission|Url)|S3::BucketPolicy|SNS::.*|Budgets::Budget|CloudWatch::Dashboard|CloudFormation::CustomResource)$/
