/**
 * Threads of the main build, kept by piscina, which is loaded with the first task.
 *
 * Invariants (test/pool/work-pool.test.ts)
 * - a task settles, whatever becomes of its thread ("a thread that dies fails its task, and the next task has
 *   another thread"; "a pool whose threads cannot start fails its tasks").
 */
import type { Piscina } from 'piscina';
import { VarveError } from '../base/errors.ts';
import type { PoolTask, ResultOf, WorkPool } from './port.ts';

/** A thread without work is ended after this long, ms. */
const idleMs = 30_000;
/** Memory of a thread beside buffers, MiB: enough for any task, and an error of that thread alone beyond. */
const heapMiB = 256;

/** Where the threads begin; beside this file, also once built. */
export const piscinaEntry: URL = new URL('./worker.js', import.meta.url);

/** Others than the pool's own serve tests. */
export interface PiscinaPoolOptions {
  readonly entry?: URL;
  readonly heapMiB?: number;
}

export class PiscinaPool implements WorkPool {
  readonly size: number;
  readonly #options: PiscinaPoolOptions;
  #piscina: Promise<Piscina> | undefined;
  #started: Piscina | undefined;
  /** Ends a task that piscina has lost, as it does with those that wait for a thread that fails to start. */
  readonly #underWay = new Set<(error: unknown) => void>();
  #closed = false;

  constructor(size: number, options: PiscinaPoolOptions = {}) {
    this.size = size;
    this.#options = options;
  }

  get isWarm(): boolean {
    return this.#started !== undefined && this.#started.threads.length > 0;
  }

  async run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    if (this.#closed) throw new VarveError('VARVE_CLOSED', 'the pool is closed');
    this.#piscina ??= this.#start();
    const piscina = await this.#piscina;
    const lost = new AbortController();
    let forget: (() => void) | undefined;
    const failed = new Promise<never>((_resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(error);
        lost.abort();
      };
      this.#underWay.add(fail);
      forget = () => this.#underWay.delete(fail);
    });
    try {
      const ended = piscina.run(task, { signal: AbortSignal.any([signal, lost.signal]) });
      return (await Promise.race([ended, failed])) as ResultOf<T>;
    } finally {
      forget?.();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const piscina = await this.#piscina;
    await piscina?.destroy();
  }

  async #start(): Promise<Piscina> {
    const { FixedQueue, Piscina } = await import('piscina');
    const piscina = new Piscina({
      filename: (this.#options.entry ?? piscinaEntry).href,
      name: 'runTask',
      minThreads: 0,
      maxThreads: this.size,
      idleTimeout: idleMs,
      taskQueue: new FixedQueue(),
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#options.heapMiB ?? heapMiB },
      recordTiming: false,
    });
    piscina.on('error', (error) => {
      for (const fail of this.#underWay) fail(error);
    });
    this.#started = piscina;
    return piscina;
  }
}
