/** Several tasks under way at once, over a source of any length. */

/**
 * Runs `task` for each item, at most `atOnce` at a time; resolves when all have ended. The first failure ends
 * it: no more is begun, what is under way is waited for, and it is thrown.
 */
export async function eachOf<T>(
  items: AsyncIterable<T> | Iterable<T>,
  atOnce: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  let failed: { readonly error: unknown } | undefined;
  try {
    for await (const item of items) {
      const run: Promise<void> = task(item)
        .catch((error: unknown) => {
          failed ??= { error };
        })
        .finally(() => running.delete(run));
      running.add(run);
      if (running.size >= atOnce) await Promise.race(running);
      if (failed !== undefined) break;
    }
  } finally {
    await Promise.all(running);
  }
  if (failed !== undefined) throw failed.error;
}
