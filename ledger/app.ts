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

export function createApp(books: Books): OpenAPIHono {
  const app = createService({
    title: 'Raincheck ledger',
    description: 'Freezes, settles and returns credits by signed objects, and proves its history by a tiled log.',
    onFault: books.context.onFault,
  })
  addCommands(app, books)
  addCirculation(app, books)
  addFederation(app, books)
  addQuestions(app, books)
  addTiles(app, books)
  addFacilitator(app, books)
  return app
}
