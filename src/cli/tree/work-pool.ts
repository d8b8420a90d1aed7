/** Bounded concurrency: a pool of tasks by weight, and a look-ahead that keeps order. */
import { Budget } from '../../base/sync.ts';

/**
 * Runs tasks side by side while their weights fit. The first failure is kept: `start` and `drain` throw it.
 *
 * Invariant: no more than `units` run at a time ("the pool never exceeds its weight").
 */
export class WorkPool {
  readonly #budget: Budget;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(units: number) {
    this.#budget = new Budget(units);
  }

  /** Resolves once the task has been started. Throws what an earlier task failed with. */
  async start(units: number, task: () => Promise<void>): Promise<void> {
    this.#throwFailure();
    await this.#budget.take(units);
    const run = this.#run(units, task);
    this.#running.add(run);
    void run.then(() => this.#running.delete(run));
    this.#throwFailure();
  }

  /** Resolves when every task has ended; throws the first failure. */
  async drain(): Promise<void> {
    await this.settle();
    this.#throwFailure();
  }

  /** Resolves when every task has ended, however it ended. */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #run(units: number, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      this.#budget.give(units);
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** Results handed on together, at most. */
const runMax = 64;

/**
 * Applies `step` to items that come in runs, to up to `ahead` of them at a time, and yields the results in
 * order and in runs: what `step` answers at once costs no wait. `step` must neither throw nor reject.
 */
export async function* inOrder<T, R>(
  source: AsyncIterable<readonly T[]> | Iterable<readonly T[]>,
  ahead: number,
  step: (item: T) => R | Promise<R>,
): AsyncGenerator<R[]> {
  const pending: Promise<R>[] = [];
  let run: R[] = [];
  try {
    for await (const items of source) {
      for (const item of items) {
        const result = step(item);
        if (result instanceof Promise) {
          pending.push(result);
          if (pending.length >= ahead) run.push(await pending.shift()!);
        } else {
          while (pending.length > 0) run.push(await pending.shift()!);
          run.push(result);
        }
        if (run.length >= runMax) {
          yield run;
          run = [];
        }
      }
      // What is there is not kept back until the source has more.
      if (run.length > 0) yield run;
      run = [];
    }
    while (pending.length > 0) run.push(await pending.shift()!);
    if (run.length > 0) yield run;
  } finally {
    await Promise.all(pending);
  }
}
