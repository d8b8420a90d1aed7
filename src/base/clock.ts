/** Time as a port: everything that reads a clock or waits takes one of these. */
export interface Clock {
  /** Wall clock, ms since 1970. May step both ways. */
  now(): number;
  /** Monotonic ms, arbitrary origin. */
  monotonic(): number;
  /**
   * Resolves after `ms`; rejects with VARVE_ABORTED when `signal` fires. Keeps the process alive only where a
   * caller waits for it (`isAwaited`): with nothing else under way it would end in the middle of a call.
   */
  sleep(ms: number, signal?: AbortSignal, isAwaited?: boolean): Promise<void>;
  /** Resolves after the reactions and callbacks that are already queued have run: lets a group fill. */
  turn(): Promise<void>;
  /** Keeps the process alive until the returned function is called: what is waited for may only rest. */
  keepAlive(): () => void;
}

/** `work`, with the process kept alive until it has settled. */
export async function awaited<T>(clock: Pick<Clock, 'keepAlive'>, work: () => Promise<T>): Promise<T> {
  const release = clock.keepAlive();
  try {
    return await work();
  } finally {
    release();
  }
}
