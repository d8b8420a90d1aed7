/**
 * Threads of native-free: node:worker_threads and nothing else.
 *
 * Invariants (test/pool/work-pool.test.ts)
 * - a thread has one task at a time, and a task settles whatever becomes of its thread ("a thread that dies
 *   fails its task, and the next task has another thread").
 */
import { Worker } from 'node:worker_threads';
import { VarveError } from '../base/errors.ts';
import type { PoolTask, ResultOf, WorkPool } from './port.ts';

/** Memory of a thread beside buffers, MiB: enough for any task, and an error of that thread alone beyond. */
const heapMiB = 256;

/** Where the threads begin; beside this file, also once built. */
export const threadEntry: URL = new URL('./thread-worker.js', import.meta.url);

interface Call {
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  call: Call | undefined;
}

export interface ThreadPoolOptions {
  /** Which SHA-256 the threads use. */
  readonly sha256: 'node' | 'javascript';
  /** Others than the pool's own serve tests. */
  readonly entry?: URL;
  readonly heapMiB?: number;
}

export class ThreadPool implements WorkPool {
  readonly size: number;
  readonly #options: ThreadPoolOptions;
  readonly #threads = new Set<Thread>();
  #closed = false;

  constructor(size: number, options: ThreadPoolOptions) {
    this.size = size;
    this.#options = options;
  }

  get isWarm(): boolean {
    return this.#threads.size > 0;
  }

  run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    return new Promise<ResultOf<T>>((resolve, reject) => {
      if (this.#closed) throw new VarveError('VARVE_CLOSED', 'the pool is closed');
      signal.throwIfAborted();
      const thread = Array.from(this.#threads).find(({ call }) => call === undefined) ?? this.#start();
      const abort = (): void => this.#stop(thread, signal.reason);
      const ended = (): void => signal.removeEventListener('abort', abort);
      signal.addEventListener('abort', abort, { once: true });
      thread.call = {
        resolve: (result) => {
          ended();
          resolve(result);
        },
        reject: (error) => {
          ended();
          reject(error);
        },
      };
      thread.worker.ref();
      thread.worker.postMessage(task);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new VarveError('VARVE_CLOSED', 'the pool is closed');
    const ends = Array.from(this.#threads, (thread) => {
      this.#died(thread, error);
      return thread.worker.terminate();
    });
    await Promise.all(ends);
  }

  #start(): Thread {
    const worker = new Worker(this.#options.entry ?? threadEntry, {
      workerData: { sha256: this.#options.sha256 },
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#options.heapMiB ?? heapMiB },
    });
    const thread: Thread = { worker, call: undefined };
    this.#threads.add(thread);
    worker.unref();
    worker.on('message', (answer: { readonly result: never } | { readonly error: unknown }) => {
      const { call } = thread;
      if (call === undefined) return;
      thread.call = undefined;
      worker.unref();
      if ('result' in answer) call.resolve(answer.result);
      else call.reject(answer.error);
    });
    worker.on('error', (error) => this.#died(thread, error));
    worker.on('exit', (code) => this.#died(thread, new Error(`the thread ended with code ${code}`)));
    return thread;
  }

  #died(thread: Thread, error: unknown): void {
    this.#threads.delete(thread);
    const { call } = thread;
    thread.call = undefined;
    call?.reject(error);
  }

  #stop(thread: Thread, reason: unknown): void {
    this.#died(thread, reason);
    // What a thread that is given up ends with interests nobody.
    thread.worker.terminate().catch(() => undefined);
  }
}
