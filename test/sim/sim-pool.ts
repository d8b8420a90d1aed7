/** Threads of the simulation: they answer when the scheduler lets them, in any order, and may die or hang. */
import { Prng } from '../../src/base/prng.ts';
import type { PoolProvider, PoolTask, ResultOf, WorkPool } from '../../src/pool/port.ts';
import { runTask } from '../../src/pool/run-task.ts';
import type { SimOptions } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

/** For the environment of one life: a pool of two threads, or none. */
export function threadsOfLife(
  scheduler: Scheduler,
  seed: number,
  kind: SimOptions['threads'],
): { pool?: PoolProvider } {
  if (kind === undefined || kind === 'none') return {};
  const open = (size: number): WorkPool => new SimPool(size, scheduler, new Prng(seed), kind === 'dying');
  return { pool: { cores: 2, open } };
}

class SimPool implements WorkPool {
  readonly size: number;
  readonly isWarm = true;
  readonly #scheduler: Scheduler;
  readonly #prng: Prng;
  readonly #isDying: boolean;

  constructor(size: number, scheduler: Scheduler, prng: Prng, isDying: boolean) {
    this.size = size;
    this.#scheduler = scheduler;
    this.#prng = prng;
    this.#isDying = isDying;
  }

  async run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    const fate = this.#isDying ? this.#prng.below(10) : 9;
    for (let turns = 1 + this.#prng.below(5); turns > 0; turns--) await this.#scheduler.turn('thread');
    if (fate === 0) throw new Error('the thread died');
    // A thread that hangs is ended by the signal; the sleep is rejected then.
    if (fate === 1) await this.#scheduler.sleep(3_600_000, signal);
    return runTask(task);
  }

  async close(): Promise<void> {
    await this.#scheduler.turn('threads end');
  }
}
