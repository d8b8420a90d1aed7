/**
 * What the collector of garbage finds forgotten gives back what it held, at a moment that no plan decides:
 * the same plan would run in two ways. In a simulation nothing is found forgotten.
 */

class NeverForgotten {
  readonly [Symbol.toStringTag] = 'FinalizationRegistry';

  register(): void {
    // Whoever is registered is never told of.
  }

  unregister(): boolean {
    return false;
  }
}

/** Runs `work`; registries that are made meanwhile are never told that anything was collected. */
export async function whileNothingIsForgotten<T>(work: () => Promise<T>): Promise<T> {
  const usual = globalThis.FinalizationRegistry;
  globalThis.FinalizationRegistry = NeverForgotten;
  try {
    return await work();
  } finally {
    globalThis.FinalizationRegistry = usual;
  }
}
