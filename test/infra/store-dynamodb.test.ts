import { describeStore } from '../conformance/store.ts'
import { freshTable } from './dynamodb-tables.ts'

describeStore('DynamoDB', freshTable)
