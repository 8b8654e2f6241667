/** A bucket, which as a rule stays when its stack goes: private, encrypted, without uploads that were left. */
import { Duration, RemovalPolicy } from 'aws-cdk-lib'
import { BlockPublicAccess, Bucket, BucketEncryption } from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { except, logicalId } from './checks.ts'
import type { LambdaService } from './lambda-service.ts'

/** From its beginning: a download may take as long, or its parts are ended under it, and bought again. */
const UNFINISHED_DAYS = 365

/**
 * @param unlogged why no log of each request is kept
 * @param keep else it goes with its stack, once it is empty
 */
export function keptBucket(scope: Construct, id: string, unlogged: string, keep = true): Bucket {
  const bucket = new Bucket(scope, id, {
    encryption: BucketEncryption.S3_MANAGED,
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    enforceSSL: true,
    removalPolicy: keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    lifecycleRules: [{ abortIncompleteMultipartUploadAfter: Duration.days(UNFINISHED_DAYS) }],
  })
  except(bucket, 'S1', unlogged)
  return bucket
}

/** @param why the objects cannot be named one by one */
export function allowObjects(service: LambdaService, bucket: Bucket, actions: string[], why: string): void {
  service.allow(actions, [bucket.arnForObjects('*')])
  except(service, `IAM5[Resource::<${logicalId(bucket)}.Arn>/*]`, why)
}
