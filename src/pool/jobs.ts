/**
 * Work on its way to threads and back: first come, first served, as many at once as there are threads. The
 * calling thread takes part when it has nothing better to do, and does again what a thread failed to do, so
 * that a job always ends with the right result.
 *
 * Invariants (test/pool/jobs.test.ts)
 * - every job ends, with the result that the calling thread alone would give ("results depend neither on
 *   the order of completion nor on threads that die, hang or lie");
 * - no more than `size` tasks are with the pool ("no more tasks are under way than there are threads");
 * - threads are started only where what they save can pay for it ("threads are started once their start
 *   pays");
 * - threads that keep failing are left alone ("after failures in a row no thread is asked any more").
 */
import type { Clock } from '../base/clock.ts';
import { VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import type { CutResult, HashResult, PoolTask, ResultOf, WorkPool } from './port.ts';
import { runTask } from './run-task.ts';
import { startBytesHere } from './start-bytes.ts';

/** A task takes some ms; a thread that is silent for this long has hung. */
const taskMsMax = 30_000;
/** Failures in a row after which no thread is asked any more. */
const failuresMax = 3;
/**
 * What starting threads costs, as bytes where SHA-256 is slow: cutting and hashing so many on threads saves
 * about the time that a start takes (a few tens of ms on each core).
 */
const slowStartBytes: number = 64 * MiB;

/** Given as a reason: the error that is made where there is none costs more than the signal. */
const taskOver = 'the task is over';

export interface JobsOptions {
  readonly pool: WorkPool;
  readonly clock: Clock;
  /** Told of each failure of a thread; `last` when no thread is asked any more. */
  readonly onFailure: (error: unknown, last: boolean) => void;
  /** Shorter in tests. */
  readonly taskMsMax?: number;
  /** Bytes that pay for starting threads; left out, they are measured when it first matters. */
  readonly startBytes?: number | undefined;
}

export class Jobs {
  readonly #pool: WorkPool;
  readonly #clock: Clock;
  readonly #onFailure: JobsOptions['onFailure'];
  readonly #taskMsMax: number;
  #startBytes: number | undefined;
  /** Bytes worked on without threads since any ran. */
  #withoutThreads = 0;
  readonly #waiting: Job[] = [];
  #running = 0;
  #failures = 0;
  /** Tasks done by threads, tasks done on the calling thread, failures of threads. */
  readonly counters: { tasks: number; helped: number; failures: number } = {
    tasks: 0,
    helped: 0,
    failures: 0,
  };

  constructor(options: JobsOptions) {
    this.#pool = options.pool;
    this.#clock = options.clock;
    this.#onFailure = options.onFailure;
    this.#taskMsMax = options.taskMsMax ?? taskMsMax;
    this.#startBytes = options.startBytes;
  }

  get size(): number {
    return this.#pool.size;
  }

  /** False once threads have failed again and again: jobs would only cost. */
  get usable(): boolean {
    return this.#failures < failuresMax;
  }

  /**
   * Whether `bytes` that lie ahead are to go to threads: these run, or what lies ahead pays for their start,
   * or as much has gone by without them as a start costs.
   * Bytes that do not go to threads are noted with `passed`.
   */
  pays(bytes: number): boolean {
    if (!this.usable) return false;
    if (this.#pool.isWarm) return true;
    this.#startBytes ??= startBytesHere(slowStartBytes, this.#clock);
    return this.#withoutThreads + Math.max(bytes, 1) > this.#startBytes;
  }

  /** Notes bytes that were worked on by the caller because threads did not pay yet. */
  passed(bytes: number): void {
    this.#withoutThreads += bytes;
  }

  /** Queues a task. Its bytes must not change before the job has ended or is cancelled. */
  submit<T extends PoolTask>(task: T): Job<T> {
    const job = new Job(task, () => this.#cancel(job as Job));
    this.#waiting.push(job as Job);
    this.#next();
    return job;
  }

  /** Does the job that waits longest on this thread; false when none waits. */
  help(): boolean {
    const job = this.#waiting.shift();
    if (job === undefined) return false;
    this.counters.helped++;
    doHere(job);
    return true;
  }

  /** Does the job on the calling thread, or others before it, as long as any waits; then waits for it. */
  async result<T extends PoolTask>(job: Job<T>): Promise<ResultOf<T>> {
    await this.finished(job);
    return job.result();
  }

  /** As `result`, where the job itself is asked for it. Never rejects. */
  async finished(job: Pick<Job, 'hasEnded' | 'ended'>): Promise<void> {
    while (!job.hasEnded && this.help()) await this.#clock.turn();
    await job.ended;
  }

  /** Lets others have the calling thread between two pieces of work. */
  turn(): Promise<void> {
    return this.#clock.turn();
  }

  /** SHA-256 of ranges of shared memory (pairs of from and to), 32 bytes apiece. One job. */
  async hashMany(shared: SharedArrayBuffer, ranges: Uint32Array): Promise<Uint8Array> {
    const { ids } = await this.result(this.submit({ kind: 'hash', shared, ranges }));
    return ids;
  }

  /** Ends all threads; jobs that wait are given up. */
  async close(): Promise<void> {
    for (const job of this.#waiting.slice()) job.cancel();
    await this.#pool.close();
  }

  #cancel(job: Job): void {
    const at = this.#waiting.indexOf(job);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    job.end({ error: new VarveError('VARVE_ABORTED', 'the job was given up') });
  }

  #next(): void {
    if (!this.usable) {
      for (const job of this.#waiting.splice(0)) doHere(job);
      return;
    }
    while (this.#running < this.#pool.size) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      this.#running++;
      void this.#doThere(job);
    }
  }

  /** Never rejects. */
  async #doThere(job: Job): Promise<void> {
    this.#withoutThreads = 0;
    const stop = new AbortController();
    const over = new AbortController();
    const hung = (): void => stop.abort(new Error(`no answer within ${this.#taskMsMax} ms`));
    // The sleep is rejected when the task is over: then there is nothing to stop.
    this.#clock.sleep(this.#taskMsMax, over.signal).then(hung, () => undefined);
    try {
      const result = await this.#pool.run(job.task, stop.signal);
      checkResult(job.task, result);
      this.#failures = 0;
      this.counters.tasks++;
      job.end({ result });
    } catch (error) {
      this.#failures++;
      this.counters.failures++;
      this.#onFailure(error, this.#failures === failuresMax);
      doHere(job);
    } finally {
      over.abort(taskOver);
      this.#running--;
    }
    this.#next();
  }
}

/** A task and what became of it. */
export class Job<T extends PoolTask = PoolTask> {
  readonly task: T;
  readonly #ended: Deferred<void> = deferred();
  readonly #cancel: () => void;
  #outcome: { readonly result: ResultOf<T> } | { readonly error: unknown } | undefined;

  constructor(task: T, cancel: () => void) {
    this.task = task;
    this.#cancel = cancel;
  }

  get hasEnded(): boolean {
    return this.#outcome !== undefined;
  }

  /** Resolves when the job has ended, well or not; never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The result of a job that has ended; throws what the calling thread failed with. */
  result(): ResultOf<T> {
    if (this.#outcome !== undefined && 'result' in this.#outcome) return this.#outcome.result;
    throw this.#outcome?.error;
  }

  /** Gives the job up: one that waits ends with VARVE_ABORTED, a thread goes on for nothing. */
  cancel(): void {
    this.#cancel();
  }

  end(outcome: { readonly result: ResultOf<T> } | { readonly error: unknown }): void {
    this.#outcome ??= outcome;
    this.#ended.resolve();
  }
}

function doHere(job: Job): void {
  try {
    job.end({ result: runTask(job.task) });
  } catch (error) {
    job.end({ error });
  }
}

/** A thread with broken memory or other code is caught here, not on the disk. */
function checkResult(task: PoolTask, result: CutResult | HashResult): void {
  const { ids } = result;
  const ends = 'ends' in result ? result.ends : undefined;
  const count = task.kind === 'cut' ? ends?.length : task.ranges.length / 2;
  if (!(ids instanceof Uint8Array) || count === undefined || ids.length !== count * sha256Bytes)
    throw new Error('a thread answered with another number of digests');
  if (task.kind !== 'cut' || ends === undefined) return;
  const { min, max } = task.params;
  let start = 0;
  for (const end of ends) {
    const length = end - start;
    const last = task.atEnd && end === task.length;
    if (length > max || length <= 0 || (length < min && !last) || end > task.length)
      throw new Error(`a thread answered with a chunk of ${length} bytes`);
    start = end;
  }
  if (task.atEnd && start !== task.length) throw new Error('a thread answered with less than the whole');
}
