/**
 * Change feeds that have read everything there is: woken when more is visible, when nothing will be any more,
 * and when the store closes.
 *
 * Invariants (test/engine/changes.test.ts)
 * - Who waits is woken by the next progress; nobody polls.
 */
export class FeedWaits {
  readonly #waiting = new Set<() => void>();

  /** Resolves at the next wake-up. `given` receives the way to end the wait early. */
  wait(given: (end: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#waiting.delete(end);
        resolve();
      };
      this.#waiting.add(end);
      given(end);
    });
  }

  wake(): void {
    if (this.#waiting.size === 0) return;
    for (const end of [...this.#waiting]) end();
  }

  /** Feeds that wait. */
  get size(): number {
    return this.#waiting.size;
  }
}
