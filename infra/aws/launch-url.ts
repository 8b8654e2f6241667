/** The console's page that makes a stack of a template, with its parameters to fill in. */

/** @param templateUrl of the template in S3, over https. @param region the console's own choice unless given */
export function launchUrl(templateUrl: string, stackName: string, region?: string): string {
  const at = region === undefined ? '' : `?region=${region}`
  const query = new URLSearchParams({ templateURL: templateUrl, stackName })
  return `https://console.aws.amazon.com/cloudformation/home${at}#/stacks/quickcreate?${query.toString()}`
}
