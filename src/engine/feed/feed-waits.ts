/**
 * Change feeds of a store. Those that have read everything there is wait: they are woken when more is
 * visible, when nothing will be any more, and when the store closes. What feeds read from is closed with the
 * store.
 *
 * Invariants (test/engine/changes.test.ts)
 * - Who waits is woken by the next progress; nobody polls.
 * - After a close no feed holds a file ("a feed that is left in the middle holds no file of a closed store").
 */

/** What a feed reads from. */
export interface FeedSource {
  close(): Promise<void>;
}

export class FeedWaits {
  readonly #waiting = new Set<() => void>();
  readonly #sources = new Set<FeedSource>();

  /** A feed begins to read; `drop` when it has ended. */
  add(source: FeedSource): void {
    this.#sources.add(source);
  }

  drop(source: FeedSource): void {
    this.#sources.delete(source);
  }

  /** Closes what feeds read from. */
  async close(): Promise<void> {
    await Promise.all(Array.from(this.#sources, (source) => source.close()));
    this.#sources.clear();
  }

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
