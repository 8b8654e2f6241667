/** What every stack is held to when it is synthesized. */
import { App, Stack, Validations, type CfnElement } from 'aws-cdk-lib'
import { AwsSolutionsChecks } from 'cdk-nag'
import type { Construct } from 'constructs'

/** Makes the library's own findings errors. */
const STRICT = { '@aws-cdk/core:validateAgainstDefaultRules': true }

export const strictApp = (): App => new App({ analyticsReporting: false, context: STRICT })

/** Any finding is an error. */
export function check(app: App): void {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
}

/** @param finding of AWS Solutions, such as `S1`, with what it found where it says so */
export function except(scope: Construct, finding: string, reason: string): void {
  Validations.of(scope).acknowledge({ id: `AwsSolutions::AwsSolutions-${finding}`, reason })
}

/** The name of a construct's resource in its template. */
export const logicalId = (construct: Construct): string =>
  Stack.of(construct).getLogicalId(construct.node.defaultChild as CfnElement)
