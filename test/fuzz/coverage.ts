/**
 * Which parts of the engine a piece of work ran, from V8's own counters: precise coverage by block, asked for
 * through the inspector in this process. V8 joins neighbouring blocks that ran equally often, so blocks are
 * not comparable between two looks: what is kept is which characters of each script ever ran.
 */
import { type Profiler, Session } from 'node:inspector';

/** A character of a script that ran. */
interface Spot {
  readonly script: string;
  readonly offset: number;
}

/**
 * One session for the process, from the moment this file is loaded: only functions compiled after the start
 * are counted by block, and a stop takes the counters away for good.
 */
const session = new Session();
session.connect();
post('Profiler.enable');
post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

/** The inspector of the own process answers before `post` returns. */
function post(method: string, params: object = {}): unknown {
  let answer: unknown;
  let failure: Error | null = null;
  session.post(method, params, (error, result) => {
    failure = error;
    answer = result;
  });
  if (failure !== null) throw failure;
  return answer;
}

export class Coverage {
  readonly #isWanted: (url: string) => boolean;
  /** By script: 1 for each character that ever ran. */
  readonly #seen = new Map<string, Uint8Array>();
  #size = 0;

  /** `isWanted` chooses scripts by their URL. */
  constructor(isWanted: (url: string) => boolean) {
    this.#isWanted = isWanted;
    this.discard();
  }

  /** Stretches of code met. */
  get size(): number {
    return this.#size;
  }

  /** Forgets what ran since the last call, without noting it. */
  discard(): void {
    this.#take();
  }

  /** What ran since the last call and never before, by both ends of each stretch; then it counts as met. */
  news(): Spot[] {
    const spots: Spot[] = [];
    for (const [script, ran] of this.#ran()) {
      const seen = this.#seenOf(script, ran.length);
      for (let from = 0; from < ran.length; from++) {
        if (ran[from] === 0 || seen[from] === 1) continue;
        let to = from;
        while (to < ran.length && ran[to] === 1 && seen[to] === 0) seen[to++] = 1;
        spots.push({ script, offset: from }, { script, offset: to - 1 });
        this.#size++;
        from = to;
      }
    }
    return spots;
  }

  /** True when one of `spots` ran since the last call. */
  hasRun(spots: readonly Spot[]): boolean {
    const ran = new Map(this.#ran());
    return spots.some(({ script, offset }) => ran.get(script)?.[offset] === 1);
  }

  /** Outer functions and blocks come before those inside them, which paint over them. */
  *#ran(): Generator<[string, Uint8Array]> {
    for (const { scriptId, url, functions } of this.#take()) {
      if (!this.#isWanted(url)) continue;
      const length = functions.reduce((end, { ranges }) => Math.max(end, ranges[0]!.endOffset), 0);
      const ran = new Uint8Array(length);
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges)
          ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
      }
      yield [scriptId, ran];
    }
  }

  #seenOf(script: string, length: number): Uint8Array {
    const seen = this.#seen.get(script);
    if (seen !== undefined && seen.length >= length) return seen;
    const grown = new Uint8Array(length);
    if (seen !== undefined) grown.set(seen);
    this.#seen.set(script, grown);
    return grown;
  }

  #take(): Profiler.ScriptCoverage[] {
    return (post('Profiler.takePreciseCoverage') as Profiler.TakePreciseCoverageReturnType).result;
  }
}
