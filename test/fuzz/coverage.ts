/**
 * Which parts of the engine a piece of work ran, from V8's own counters: precise coverage by block, asked for
 * through the inspector in this process. Taking it costs about a millisecond, so it is taken per batch.
 */
import { type Profiler, Session } from 'node:inspector';

export class Coverage {
  readonly #session = new Session();
  readonly #isWanted: (url: string) => boolean;
  /** Ranges seen so far, with the magnitude of their count. */
  readonly #seen = new Set<string>();

  /** `isWanted` chooses scripts by their URL. */
  constructor(isWanted: (url: string) => boolean) {
    this.#isWanted = isWanted;
    this.#session.connect();
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Number of range and count pairs met. */
  get size(): number {
    return this.#seen.size;
  }

  /** Forgets what ran since the last call, without noting it. */
  discard(): void {
    this.#take();
  }

  /** True when something ran since the last call that had never run, or never so often. */
  isNew(): boolean {
    const before = this.#seen.size;
    for (const { scriptId, url, functions } of this.#take()) {
      if (!this.#isWanted(url)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) this.#seen.add(`${scriptId} ${startOffset} ${endOffset} ${magnitude(count)}`);
        }
      }
    }
    return this.#seen.size > before;
  }

  /** Which blocks ran since the last call, as text that is equal for equal sets. */
  signature(): string {
    const parts: string[] = [];
    for (const { scriptId, url, functions } of this.#take()) {
      if (!this.#isWanted(url)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, count } of ranges)
          if (count > 0) parts.push(`${scriptId}:${startOffset}:${magnitude(count)}`);
      }
    }
    return parts.join(' ');
  }

  close(): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
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

/** Counts are told apart by power of two, up to 128. */
function magnitude(count: number): number {
  return Math.min(7, Math.floor(Math.log2(count)));
}
