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
const entry = new URL('./thread-worker.js', import.meta.url);

interface Call {
  readonly task: PoolTask;
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
}

export class ThreadPool implements WorkPool {
  readonly size: number;
  readonly #options: ThreadPoolOptions;
  readonly #threads = new Set<Thread>();
  readonly #waiting: Call[] = [];
  #closed = false;

  constructor(size: number, options: ThreadPoolOptions) {
    this.size = size;
    this.#options = options;
  }

  run<T extends PoolTask>(task: T, signal: AbortSignal): Promise<ResultOf<T>> {
    return new Promise<ResultOf<T>>((resolve, reject) => {
      if (this.#closed) throw new VarveError('VARVE_CLOSED', 'the pool is closed');
      signal.throwIfAborted();
      const abort = (): void => this.#give(call, signal.reason);
      const ended = (): void => signal.removeEventListener('abort', abort);
      const call: Call = {
        task,
        resolve: (result) => {
          ended();
          resolve(result);
        },
        reject: (error) => {
          ended();
          reject(error);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(call);
      this.#next();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new VarveError('VARVE_CLOSED', 'the pool is closed');
    for (const call of this.#waiting.splice(0)) call.reject(error);
    await Promise.all(Array.from(this.#threads, (thread) => this.#end(thread, error)));
  }

  #next(): void {
    if (this.#closed || this.#waiting.length === 0) return;
    let thread = Array.from(this.#threads).find(({ call }) => call === undefined);
    if (thread === undefined && this.#threads.size < this.size) thread = this.#start();
    if (thread === undefined) return;
    const call = this.#waiting.shift()!;
    thread.call = call;
    thread.worker.ref();
    thread.worker.postMessage(call.task);
  }

  #start(): Thread {
    const worker = new Worker(this.#options.entry ?? entry, {
      workerData: { sha256: this.#options.sha256 },
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
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
      this.#next();
    });
    worker.on('error', (error) => this.#died(thread, error));
    worker.on('exit', (code) => this.#died(thread, new Error(`the thread ended with code ${code}`)));
    return thread;
  }

  #died(thread: Thread, error: unknown): void {
    if (!this.#threads.delete(thread)) return;
    thread.call?.reject(error);
    this.#next();
  }

  /** Takes a call back: from the queue, or with the thread that works on it. */
  #give(call: Call, reason: unknown): void {
    const at = this.#waiting.indexOf(call);
    if (at >= 0) this.#waiting.splice(at, 1);
    call.reject(reason);
    for (const thread of this.#threads) {
      if (thread.call !== call) continue;
      thread.worker.terminate().catch((error: unknown) => this.#died(thread, error));
      this.#died(thread, reason);
    }
  }

  async #end(thread: Thread, error: unknown): Promise<void> {
    this.#died(thread, error);
    await thread.worker.terminate();
  }
}
