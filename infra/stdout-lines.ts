/** The lines of a function's log. */
import type { Clock } from '../protocol/environment.ts'
import { createLogLines, type LogLines } from './lambda/log-lines.ts'

/** @param stack what STACK_NAME says */
export const stdoutLines = (clock: Pick<Clock, 'now'>, stack: string): LogLines =>
  createLogLines({ clock, stack, write: (line) => void process.stdout.write(line) })
