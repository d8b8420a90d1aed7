/**
 * Which parts of the engine a piece of work ran, from V8's own counters: precise coverage by block, asked for
 * through the inspector in this process. Taking it costs about a millisecond, so it is taken per batch.
 */
import { type Profiler, Session } from 'node:inspector';

export class Coverage {
  readonly #session = new Session();
  readonly #isWanted: (url: string) => boolean;
  /** Blocks that ever ran. */
  readonly #seen = new Set<string>();

  /** `isWanted` chooses scripts by their URL. */
  constructor(isWanted: (url: string) => boolean) {
    this.#isWanted = isWanted;
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Number of blocks met. */
  get size(): number {
    return this.#seen.size;
  }

  /** Forgets what ran since the last call, without noting it. */
  discard(): void {
    this.#take();
  }

  /** Blocks that ran since the last call and never before; they count as met from now on. */
  news(): Set<string> {
    const found = new Set<string>();
    for (const block of this.#blocks()) if (!this.#seen.has(block)) found.add(block);
    for (const block of found) this.#seen.add(block);
    return found;
  }

  /** True when one of `blocks` ran since the last call. */
  hasRun(blocks: ReadonlySet<string>): boolean {
    for (const block of this.#blocks()) if (blocks.has(block)) return true;
    return false;
  }

  close(): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  *#blocks(): Generator<string> {
    for (const { scriptId, url, functions } of this.#take()) {
      if (!this.#isWanted(url)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges)
          if (count > 0) yield `${scriptId} ${startOffset} ${endOffset}`;
      }
    }
  }

  #take(): Profiler.ScriptCoverage[] {
    return (this.#post('Profiler.takePreciseCoverage') as Profiler.TakePreciseCoverageReturnType).result;
  }

  /** The inspector of the own process answers before `post` returns. */
  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    let failure: Error | null = null;
    this.#session.post(method, params, (error, result) => {
      failure = error;
      answer = result;
    });
    if (failure !== null) throw failure;
    return answer;
  }
}
