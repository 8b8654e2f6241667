/** What the descriptions of the services' routes have in common: values in paths and queries, bodies, replies. */
import { z } from '@hono/zod-openapi'
import { problemReply, wire } from './service.ts'

const DIGITS = /^(0|[1-9][0-9]{0,14})$/

/** A whole number in a path or a query. */
export const decimal = z.string().regex(DIGITS).transform(Number).openapi({ type: 'integer', minimum: 0 })

/** At least 0. */
export const count = z.int().min(0)

export const byId = z.object({ id: wire.id })
export const byInfoHash = z.object({ infoHash: wire.infoHash })

export const jsonReply = <S extends z.ZodType>(description: string, schema: S) => ({
  description,
  content: { 'application/json': { schema } },
})

export const ok = <S extends z.ZodType>(description: string, schema: S) => ({
  200: jsonReply(description, schema),
  default: problemReply,
})

const JSON_TYPE: string = 'application/json'

/** As `ok`, for an answer that is JSON text already. */
export const okAsText = <S extends z.ZodType>(description: string, schema: S) => ({
  200: { description, content: { [JSON_TYPE]: { schema } } },
  default: problemReply,
})

/** 201 the first time, 200 when it changes nothing. */
export const created = <S extends z.ZodType>(description: string, schema: S) => ({
  201: jsonReply(description, schema),
  ...ok('The same, known already', schema),
})

export const jsonBody = <S extends z.ZodType>(schema: S) => ({
  required: true,
  content: { 'application/json': { schema } },
})

export const binary = (type: string) => ({ [type]: { schema: z.string().openapi({ format: 'binary' }) } })
