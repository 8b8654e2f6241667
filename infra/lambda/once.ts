/** Opened by the first who asks, and kept while the instance lives; what could not be opened is tried again. */
export function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | undefined
  return () => {
    opened ??= open().catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }
}

/** The same for what depends on a text: opened anew for another, and kept while that is asked for. */
export function onceFor<T>(open: (text: string) => Promise<T>): (text: string) => Promise<T> {
  let kept: { readonly text: string; readonly opened: () => Promise<T> } | undefined
  return (text) => {
    if (kept?.text !== text) kept = { text, opened: once(() => open(text)) }
    return kept.opened()
  }
}
