/** The ledger on HTTP. */
import type { OpenAPIHono } from '@hono/zod-openapi'
import { createService } from '../protocol/service.ts'
import type { Books } from './books.ts'
import { addCirculation } from './circulation-api.ts'
import { addCommands } from './commands.ts'
import { addFederation } from './federation-api.ts'
import { addFacilitator } from './facilitator.ts'
import { addQuestions } from './questions.ts'
import { addTiles } from './tiles.ts'

/** What tells of the log's end; all else is either state, which is ahead of the log, or in the log already. */
const OF_THE_END = ['/checkpoint', '/v1/accounts/:id/entries']

/** @param bringUpToDate run before such a question is answered */
export function createApp(books: Books, bringUpToDate?: () => Promise<void>): OpenAPIHono {
  const app = createService({
    title: 'Raincheck ledger',
    description: 'Freezes, settles and returns credits by signed objects, and proves its history by a tiled log.',
    onFault: books.context.onFault,
  })
  for (const path of bringUpToDate ? OF_THE_END : []) {
    app.use(path, async (_, next) => {
      await bringUpToDate?.()
      await next()
    })
  }
  addCommands(app, books)
  addCirculation(app, books)
  addFederation(app, books)
  addQuestions(app, books)
  addTiles(app, books)
  addFacilitator(app, books)
  return app
}
