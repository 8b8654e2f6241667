/** The one recipe of a Lambda function: its own role with nothing it does not need, its own logs, and, where wanted, a URL. */
import { Aws, Fn, RemovalPolicy, type Duration } from 'aws-cdk-lib'
import { Effect, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import {
  Architecture,
  Function,
  FunctionUrlAuthType,
  InvokeMode,
  LoggingFormat,
  Runtime,
  type Code,
  type DurableConfig,
} from 'aws-cdk-lib/aws-lambda'
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'

/** Of `https://host/`, split at its slashes. */
const HOST = 2

export interface LambdaServiceProps {
  readonly code: Code
  /** An export of the bundle. */
  readonly handler: string
  readonly description: string
  readonly environment: Readonly<Record<string, string>>
  readonly memoryMiB: number
  readonly timeout: Duration
  readonly durable?: DurableConfig
}

export class LambdaService extends Construct {
  readonly function: Function
  readonly role: Role

  constructor(scope: Construct, id: string, props: LambdaServiceProps) {
    super(scope, id)
    const logGroup = new LogGroup(this, 'Logs', {
      retention: RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    })
    this.role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') })
    this.allow(['logs:CreateLogStream', 'logs:PutLogEvents'], [logGroup.logGroupArn])
    this.function = new Function(this, 'Function', {
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      code: props.code,
      handler: `index.${props.handler}`,
      description: props.description,
      environment: { ...props.environment, STACK_NAME: Aws.STACK_NAME },
      memorySize: props.memoryMiB,
      timeout: props.timeout,
      role: this.role,
      logGroup,
      loggingFormat: LoggingFormat.JSON,
      ...(props.durable && { durableConfig: props.durable }),
    })
  }

  allow(actions: string[], resources: string[]): void {
    this.role.addToPolicy(new PolicyStatement({ effect: Effect.ALLOW, actions, resources }))
  }

  /** Anyone may call it: what a caller may do is told by signatures and ticks. @returns without a slash at its end */
  url(): string {
    const { url } = this.function.addFunctionUrl({
      authType: FunctionUrlAuthType.NONE,
      invokeMode: InvokeMode.RESPONSE_STREAM,
    })
    return `https://${Fn.select(HOST, Fn.split('/', url))}`
  }
}
