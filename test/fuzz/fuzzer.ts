/**
 * A coverage-guided fuzzer: inputs that reach new code are kept and changed further. Batches run without a
 * look at coverage in between; only a batch that found something new is taken apart. The same seed and number
 * of runs give the same inputs as long as the decoders stay as they are.
 */
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError, type VarveErrorCode } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import type { Target } from './target.ts';

const refusals: readonly VarveErrorCode[] = [
  'VARVE_CORRUPT',
  'VARVE_FORMAT_VERSION',
  'VARVE_INVALID_ARGUMENT',
];
const batchRuns = 1024;
const corpusMax = 2000;
/** Samples every corpus begins with. */
const firstInputs = 32;
/** Half of the inputs are made from so many. */
const recentInputs = 4;
/** Inputs kept of one batch. */
const keptMax = 4;
const slowMs = 1000;
const bytesMax = 64 * 1024 * 1024;
const failuresMax = 5;

export class Fuzzer {
  readonly target: Target;
  readonly #coverage: Coverage;
  readonly #prng: Prng;
  readonly #corpus: Uint8Array[] = [];
  readonly failures: string[] = [];
  runs = 0;
  accepted = 0;
  failed = 0;

  constructor(target: Target, coverage: Coverage, seed: number) {
    this.target = target;
    this.#coverage = coverage;
    this.#prng = new Prng(seed);
  }

  get corpusSize(): number {
    return this.#corpus.length;
  }

  /** One batch of at most `limit` runs. */
  batch(limit: number = batchRuns): void {
    const inputs: Uint8Array[] = [];
    const { length } = this.#corpus;
    while (inputs.length < Math.min(limit, batchRuns)) {
      // Fresh samples in every batch: round trips are tested as long as the run goes on.
      const isFresh = inputs.length % 32 === 0 || length === 0;
      const input = isFresh ? this.#fresh() : this.#changed();
      if (input !== undefined) inputs.push(input);
      else if (isFresh && length === 0) return;
    }
    const begun = performance.now();
    const before = process.memoryUsage().arrayBuffers;
    for (const input of inputs) this.#run(input);
    const took = performance.now() - begun;
    const grown = process.memoryUsage().arrayBuffers - before;
    const news = this.#coverage.news();
    if (length === 0) this.#corpus.push(...distinct(inputs).slice(0, firstInputs));
    if (news.length > 0) this.#keepNew(inputs, news);
    if (grown > bytesMax || took > slowMs) this.#measure(inputs);
  }

  #fresh(): Uint8Array | undefined {
    try {
      return this.target.sample(this.#prng);
    } catch (error) {
      this.#fail('round trip', error, undefined);
      return undefined;
    }
  }

  #changed(): Uint8Array {
    const prng = this.#prng;
    // The last ones that reached something new are the ones to go on from.
    const recent = Math.min(recentInputs, this.#corpus.length);
    const start = prng.chance(0.5) ? this.#corpus.at(-1 - prng.below(recent))! : prng.pick(this.#corpus);
    const input = mutate(prng, start, prng.pick(this.#corpus));
    if (this.target.reseal !== undefined && prng.chance(0.5)) this.target.reseal(input);
    return input;
  }

  /** Finds the inputs that ran one of `news` by halving, and keeps them. */
  #keepNew(inputs: readonly Uint8Array[], news: ReturnType<Coverage['news']>): void {
    this.#coverage.discard();
    const pending: (readonly Uint8Array[])[] = [inputs];
    let kept = 0;
    for (let some = pending.pop(); some !== undefined && kept < keptMax; some = pending.pop()) {
      for (const input of some) this.#run(input, false);
      if (!this.#coverage.hasRun(news)) continue;
      if (some.length === 1) {
        this.#keep(some[0]!);
        kept++;
        continue;
      }
      const middle = some.length >> 1;
      pending.push(some.slice(0, middle), some.slice(middle));
    }
  }

  /** Time and memory of each input alone. */
  #measure(inputs: readonly Uint8Array[]): void {
    for (const input of inputs) {
      const before = process.memoryUsage().arrayBuffers;
      const begun = performance.now();
      this.#run(input, false);
      const took = performance.now() - begun;
      if (took > slowMs) this.#fail(`takes ${Math.round(took)} ms`, undefined, input);
      const grown = process.memoryUsage().arrayBuffers - before;
      if (grown > bytesMax) this.#fail(`takes ${grown} bytes of memory`, undefined, input);
    }
  }

  #keep(input: Uint8Array): void {
    if (this.#corpus.length < corpusMax) this.#corpus.push(input);
    else this.#corpus[this.#prng.below(corpusMax)] = input;
  }

  #run(input: Uint8Array, counts = true): void {
    if (counts) this.runs++;
    try {
      this.target.run(input);
      if (counts) this.accepted++;
    } catch (error) {
      if (isVarveError(error, ...refusals) || !counts) return;
      this.#fail('throws', error, input);
    }
  }

  #fail(what: string, error: unknown, input: Uint8Array | undefined): void {
    this.failed++;
    if (this.failures.length === failuresMax) return;
    const stack =
      error instanceof Error ? (error.stack ?? '').split('\n').slice(0, 4).join(' | ') : String(error ?? '');
    const bytes = input === undefined ? '' : `, input ${toHex(input.slice(0, 2048))}`;
    this.failures.push(`${this.target.name}: ${what} ${stack}${bytes}`);
  }
}

function distinct(inputs: readonly Uint8Array[]): Uint8Array[] {
  return Array.from(new Map(inputs.map((input) => [toHex(input), input])).values());
}
