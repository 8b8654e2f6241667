/** What a link needs to get in, as it rests in the store: sealed under a key that only the agent derives. */

export interface Secrets {
  /**
   * @param name of the link: what was sealed for one link does not open for another
   * @returns printable text, another each time
   */
  seal(name: string, text: string): Promise<string>
  /** @throws Problem `storage-denied` when it was sealed by another agent, for another link, or is damaged */
  open(name: string, sealed: string): Promise<string>
}

/** Tokens and keys of one link by name, such as `refreshToken`. Never in a log, an error, a reply or a URL. */
export type LinkSecret = Readonly<Record<string, string>>
