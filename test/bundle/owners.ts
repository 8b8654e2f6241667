/**
 * How many owners' agents one AWS account takes, by what the agent's template makes and by what AWS lets an account have
 * (`npx vitest run test/bundle/owners.test.ts -u` writes the table of docs/AWS.md).
 */
import type { Template } from './cloud.ts'

interface Quota {
  /** As AWS's Service Quotas name it. */
  readonly name: string
  readonly where: 'account' | 'region'
  readonly usual: number
  /** What it may be raised to, where AWS says. */
  readonly most?: number
  /** Of one agent. */
  readonly takes: (template: Template) => number
}

/** What is there only where somebody gives an address for alarms is not counted. */
const count =
  (type: string, isAsked = false) =>
  ({ Resources: resources }: Template): number =>
    Object.values(resources).filter(({ Type, Condition }) => Type === type && (isAsked || Condition === undefined))
      .length

/** In MB, at the most (`stacks.test.ts`): of each function the newest code, and that of each version. */
const CODE_MB = 1.2
const codeMb = (template: Template): number =>
  CODE_MB * (count('AWS::Lambda::Function')(template) + count('AWS::Lambda::Version')(template))

/** As published for most regions; some have less. */
export const QUOTAS = {
  rules: { name: 'EventBridge: rules', where: 'region', usual: 300, takes: count('AWS::Events::Rule') },
  roles: { name: 'IAM: roles', where: 'account', usual: 1_000, most: 5_000, takes: count('AWS::IAM::Role') },
  stacks: { name: 'CloudFormation: stacks', where: 'region', usual: 2_000, takes: () => 1 },
  tables: {
    name: 'DynamoDB: tables',
    where: 'region',
    usual: 2_500,
    most: 10_000,
    takes: count('AWS::DynamoDB::GlobalTable'),
  },
  // Made by the function.
  parameters: { name: 'Systems Manager: standard parameters', where: 'region', usual: 10_000, takes: () => 1 },
  buckets: {
    name: 'S3: general purpose buckets',
    where: 'account',
    usual: 10_000,
    most: 1_000_000,
    takes: count('AWS::S3::Bucket'),
  },
  code: { name: 'Lambda: MB of function code', where: 'region', usual: 75_000, takes: codeMb },
  logs: { name: 'CloudWatch Logs: log groups', where: 'region', usual: 1_000_000, takes: count('AWS::Logs::LogGroup') },
} as const satisfies Record<string, Quota>

export const ALARMS: Quota = {
  name: 'CloudWatch: alarms',
  where: 'region',
  usual: 5_000,
  takes: count('AWS::CloudWatch::Alarm', true),
}

export const ownersBy = ({ usual, takes }: Quota, template: Template, quota = usual): number =>
  Math.floor(quota / takes(template))

export const figure = (value: number): string => value.toLocaleString('en-US')

/** Markdown: the quotas that are met first stand first. */
export function ownersTable(template: Template): string {
  const quotas: readonly Quota[] = Object.values(QUOTAS)
  const rows = quotas
    .toSorted((a, b) => ownersBy(a, template) - ownersBy(b, template))
    .map((quota) => [
      quota.name,
      `${figure(quota.usual)} a${quota.where === 'account' ? 'n account' : ' region'}`,
      figure(quota.takes(template)),
      figure(ownersBy(quota, template)),
      quota.most === undefined ? '' : `${figure(quota.most)}: ${figure(ownersBy(quota, template, quota.most))}`,
    ])
  const head = ['quota', 'by default', 'an agent takes', 'owners', 'at most']
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}
