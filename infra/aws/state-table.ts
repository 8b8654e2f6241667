/** Where a service keeps its state: one table, paid by the request, that can be brought back to any second of 35 days. */
import { RemovalPolicy } from 'aws-cdk-lib'
import { AttributeType, Billing, TableV2 } from 'aws-cdk-lib/aws-dynamodb'
import type { Construct } from 'constructs'
import type { LambdaService } from './lambda-service.ts'

/** A transaction takes what its parts take by themselves. */
const ACTIONS = [
  'dynamodb:GetItem',
  'dynamodb:Query',
  'dynamodb:PutItem',
  'dynamodb:UpdateItem',
  'dynamodb:DeleteItem',
  'dynamodb:BatchGetItem',
]

/** @param keep the table outlives its stack, also one that did not come about: what is protected cannot be deleted */
export function stateTable(scope: Construct, { keep }: { readonly keep: boolean }): TableV2 {
  return new TableV2(scope, 'State', {
    partitionKey: { name: 'pk', type: AttributeType.STRING },
    sortKey: { name: 'sk', type: AttributeType.STRING },
    billing: Billing.onDemand(),
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    removalPolicy: keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    deletionProtection: keep,
  })
}

export function allowState(service: LambdaService, table: TableV2): void {
  service.allow(ACTIONS, [table.tableArn])
}
