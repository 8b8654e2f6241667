/** All of them are at rest before the first failure is told: whoever hears of it may undo what they were doing. */
export async function allAtRest(flows: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(flows)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
