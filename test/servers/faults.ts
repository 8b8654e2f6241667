/** Faults by script, in order for each step. */
import type { Faults, ServerFault, Step } from '../conformance/storage-world.ts'

export interface FaultScript extends Faults {
  /** The fault that the request which now comes meets. */
  take(step: Step): ServerFault | undefined
}

export function createFaults(): FaultScript {
  const scripts = new Map<Step, ServerFault[]>()
  return {
    next(step, fault, times = 1) {
      scripts.set(step, [...(scripts.get(step) ?? []), ...Array.from({ length: times }, () => fault)])
    },
    get left() {
      return [...scripts.values()].reduce((sum, { length }) => sum + length, 0)
    },
    take: (step) => scripts.get(step)?.shift(),
  }
}
