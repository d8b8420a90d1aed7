/**
 * Assertions for our own mistakes only: bytes from disk or from callers never reach one.
 * The message is constant text, so that a failed assertion can be searched for.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`varve: broken assumption: ${message}`);
}

/** Marks code that cannot be reached. */
export function unreachable(message: string): never {
  throw new Error(`varve: broken assumption: ${message}`);
}
