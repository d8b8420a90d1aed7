/** Small building blocks for asynchronous code on one thread. */

/** A promise with its two ends in hand. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Resolves when all of `tasks` have ended; rejects as the first of them, by its place, that failed. */
export async function allEnded(tasks: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(tasks);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Runs tasks one after another, in the order they were given. A failed task does not stop the next. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(task, task);
    this.#tail = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }
}

/** Admits up to `budget` units at a time; larger requests are admitted alone. First come, first served. */
export class Budget {
  readonly budget: number;
  #used = 0;
  readonly #waiting: { units: number; ready: Deferred<void> }[] = [];

  constructor(budget: number) {
    this.budget = budget;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes `units` now when they fit and nobody waits; false otherwise (then `take`). */
  tryTake(units: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(units)) return false;
    this.#used += units;
    return true;
  }

  async take(units: number): Promise<void> {
    if (this.tryTake(units)) return;
    const ready = deferred<void>();
    this.#waiting.push({ units, ready });
    await ready.promise;
  }

  give(units: number): void {
    this.#used -= units;
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.units)) {
      const next = this.#waiting.shift()!;
      this.#used += next.units;
      next.ready.resolve();
    }
  }

  #fits(units: number): boolean {
    return this.#used === 0 || this.#used + units <= this.budget;
  }
}
