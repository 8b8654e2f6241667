/**
 * What tells a stack's owner that something is wrong, where the owner gives an address to write to: alarms, a budget of the
 * account, and, where wanted, a dashboard. Nothing of it is there unless it is asked for: beyond what AWS gives for nothing, an
 * alarm is $0.10 a month and a dashboard $3.
 */
import { Aws, CfnCondition, CfnParameter, CfnResource, Duration, Fn, type Stack } from 'aws-cdk-lib'
import { CfnBudget } from 'aws-cdk-lib/aws-budgets'
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  Metric,
  TreatMissingData,
  type IMetric,
} from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Topic } from 'aws-cdk-lib/aws-sns'
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions'
import { Construct } from 'constructs'
import { DIMENSION, NAMESPACE, type MetricName } from '../lambda/log-lines.ts'
import type { LambdaService } from './lambda-service.ts'

export interface Watched {
  /** By what they do; the first one is that behind the URL. */
  readonly functions: Readonly<Record<string, LambdaService>>
  /** Rounds that must come again and again; whether they succeed, its errors tell. */
  readonly rounds?: { readonly of: LambdaService; readonly within: Duration; readonly otherwise: string }
  /** What may not wait for so long, by the metric `Waiting`. */
  readonly waits?: { readonly most: Duration; readonly says: string }
  /** The owner's caps end what it does. */
  readonly isCapped?: boolean
}

const PERIOD = Duration.minutes(5)
const DOLLARS = 5

export class Watch extends Construct {
  constructor(stack: Stack, watched: Watched) {
    super(stack, 'Watch')
    const { email, budget, dashboard } = parameters(stack)
    const isAsked = new CfnCondition(stack, 'HasAlerts', {
      expression: Fn.conditionNot(Fn.conditionEquals(email, '')),
    })
    const hasDashboard = new CfnCondition(stack, 'HasDashboard', { expression: Fn.conditionEquals(dashboard, 'yes') })
    const alerts = new Construct(this, 'Alerts')
    const topic = alertTopic(alerts, stack, email)
    for (const { id, metric, says, isMissingBad, threshold = 1 } of alarmsOf(watched)) {
      const alarm = new Alarm(alerts, id, {
        metric,
        alarmDescription: says,
        threshold: isMissingBad ? 0 : threshold,
        comparisonOperator: isMissingBad
          ? ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD
          : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        evaluationPeriods: 1,
        treatMissingData: isMissingBad ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
      })
      alarm.addAlarmAction(new SnsAction(topic))
    }
    accountBudget(alerts, email, budget)
    only(alerts, isAsked)
    only(dashboardOf(this, watched), hasDashboard)
  }
}

function parameters(stack: Stack) {
  const email = new CfnParameter(stack, 'AlertEmail', {
    default: '',
    allowedPattern: '([^@ ]+@[^@ ]+)?',
    description: 'Where alarms and the budget write to, which may cost $1 a month; there are none when empty',
  })
  const budget = new CfnParameter(stack, 'MonthlyBudget', {
    type: 'Number',
    default: DOLLARS,
    minValue: 1,
    description: 'Dollars a month of the whole account, above which AWS writes to AlertEmail',
  })
  const dashboard = new CfnParameter(stack, 'Dashboard', {
    default: 'no',
    allowedValues: ['no', 'yes'],
    description: 'A dashboard in CloudWatch: $3 a month beyond the three that are free',
  })
  return { email: email.valueAsString, budget: budget.valueAsNumber, dashboard: dashboard.valueAsString }
}

function alertTopic(scope: Construct, stack: Stack, email: string): Topic {
  const topic = new Topic(scope, 'Topic', { enforceSSL: true })
  topic.addSubscription(new EmailSubscription(email))
  topic.addToResourcePolicy(
    new PolicyStatement({
      actions: ['sns:Publish'],
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      resources: [topic.topicArn],
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
    }),
  )
  return topic
}

interface Watchword {
  readonly id: string
  readonly metric: IMetric
  /** Of the mail. */
  readonly says: string
  /** The metric counts what should happen. */
  readonly isMissingBad?: true
  /** From which on it is an alarm. */
  readonly threshold?: number
}

function* alarmsOf({ functions, rounds, waits, isCapped = false }: Watched): Generator<Watchword> {
  const sums = { statistic: 'Sum', period: PERIOD }
  for (const [name, service] of Object.entries(functions)) {
    const says = `${name} failed: it crashed, ran out of time or could not go on. Its log says more.`
    yield { id: `${name}Errors`, metric: service.function.metricErrors(sums), says }
  }
  const [front] = Object.values(functions)
  if (front) {
    const metric = front.function.metricThrottles(sums)
    yield { id: 'Throttles', metric, says: 'Requests are turned away: the account’s concurrency is used up.' }
  }
  const says = 'A fault of the program, or a table that does not answer. The log says more: event "fault".'
  yield { id: 'Faults', metric: own('Faults'), says }
  if (isCapped) {
    const capped = 'A cap of today is reached (`raincheck caps`): it goes on at midnight UTC.'
    yield { id: 'CapReached', metric: own('CapReached'), says: capped }
  }
  if (rounds) {
    const { of: service, within, otherwise } = rounds
    const metric = service.function.metricInvocations({ statistic: 'Sum', period: within })
    yield { id: 'Rounds', metric, says: otherwise, isMissingBad: true }
  }
  if (waits) {
    const metric = own('Waiting', 'Maximum')
    yield { id: 'Waiting', metric, says: waits.says, threshold: waits.most.toMilliseconds() }
  }
}

const own = (metricName: MetricName, statistic = 'Sum'): Metric =>
  new Metric({
    namespace: NAMESPACE,
    metricName,
    dimensionsMap: { [DIMENSION]: Aws.STACK_NAME },
    statistic,
    period: PERIOD,
  })

function accountBudget(scope: Construct, email: string, dollars: number): void {
  const notice = (notificationType: string) => ({
    notification: { notificationType, comparisonOperator: 'GREATER_THAN', threshold: 100, thresholdType: 'PERCENTAGE' },
    subscribers: [{ subscriptionType: 'EMAIL', address: email }],
  })
  new CfnBudget(scope, 'Budget', {
    budget: { budgetType: 'COST', timeUnit: 'MONTHLY', budgetLimit: { amount: dollars, unit: 'USD' } },
    notificationsWithSubscribers: [notice('ACTUAL'), notice('FORECASTED')],
  })
}

const graph = (title: string, left: IMetric[]): GraphWidget => new GraphWidget({ title, left, width: 12 })

function dashboardOf(scope: Construct, { functions }: Watched): Dashboard {
  const services = Object.values(functions).map((service) => service.function)
  const sums = { statistic: 'Sum', period: PERIOD }
  return new Dashboard(scope, 'Dashboard', {
    widgets: [
      [
        graph(
          'Invocations',
          services.map((one) => one.metricInvocations(sums)),
        ),
        graph(
          'Errors and throttles',
          services.flatMap((one) => [one.metricErrors(sums), one.metricThrottles(sums)]),
        ),
      ],
      [
        graph('Time of a request', [own('Latency', 'p50'), own('Latency', 'p99')]),
        graph('Faults, caps reached', [own('Faults'), own('CapReached')]),
      ],
    ],
  })
}

/** What is in it comes to be under a condition. */
function only(scope: Construct, condition: CfnCondition): void {
  for (const one of scope.node.findAll()) if (one instanceof CfnResource) one.cfnOptions.condition = condition
}
