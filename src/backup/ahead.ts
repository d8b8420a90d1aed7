/** Tasks that are begun ahead of whoever takes their results, in order and a few at a time. */
export class Ahead<T> {
  readonly #items: readonly number[];
  readonly #atOnce: number;
  readonly #begin: (item: number) => Promise<T>;
  /** Begun and not taken, oldest first. */
  readonly #begun: Promise<T>[] = [];
  #next = 0;

  /** `begin` is called for each of `items`, with `atOnce` under way at most. */
  constructor(items: readonly number[], atOnce: number, begin: (item: number) => Promise<T>) {
    this.#items = items;
    this.#atOnce = atOnce;
    this.#begin = begin;
  }

  /** Begins as many as may be under way, before any is taken. */
  start(): void {
    while (this.#begun.length < this.#atOnce && this.#next < this.#items.length) {
      const task = this.#begin(this.#items[this.#next++]!);
      // Whoever takes it hears of a failure; nobody does of those that are given up.
      task.catch(() => undefined);
      this.#begun.push(task);
    }
  }

  /** The result for the next item, once for each; rejects as `begin` did. */
  async next(): Promise<T> {
    this.start();
    return await this.#begun.shift()!;
  }

  /** Resolves when nothing is under way; what was begun and not taken is given up. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#begun);
    this.#begun.length = 0;
  }
}
