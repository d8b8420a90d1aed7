/**
 * A coverage-guided fuzzer: inputs that reach new code are kept and changed further. Batches run without a look
 * at coverage in between; only a batch that found something new is taken apart. The same seed and the same
 * number of runs give the same inputs as long as the decoders stay as they are.
 */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import { isVarveError, type VarveErrorCode } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import type { Target } from './target.ts';

const refusals: readonly VarveErrorCode[] = ['VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_INVALID_ARGUMENT'];
const batchRuns = 256;
const corpusMax = 2000;
const slowMs = 1000;
const bytesMax = 64 * 1024 * 1024;
const failuresMax = 5;

export class Fuzzer {
  readonly target: Target;
  readonly #coverage: Coverage;
  readonly #prng: Prng;
  readonly #corpus: Uint8Array[] = [];
  readonly #seenSignatures = new Set<bigint>();
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
    this.#coverage.discard();
    const begun = performance.now();
    const before = process.memoryUsage();
    for (const input of inputs) this.#run(input);
    const took = performance.now() - begun;
    const after = process.memoryUsage();
    const isNew = this.#coverage.isNew() || length === 0;
    const isLarge = after.arrayBuffers - before.arrayBuffers > bytesMax;
    if (isNew || isLarge || took > slowMs) this.#takeApart(inputs);
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
    const input = mutate(prng, prng.pick(this.#corpus), prng.pick(this.#corpus));
    if (this.target.reseal !== undefined && prng.chance(0.5)) this.target.reseal(input);
    return input;
  }

  /** Keeps the inputs that were new, and measures each alone. */
  #takeApart(inputs: readonly Uint8Array[]): void {
    for (const input of inputs) {
      const before = process.memoryUsage();
      const begun = performance.now();
      this.#run(input, false);
      const took = performance.now() - begun;
      if (took > slowMs) this.#fail(`takes ${Math.round(took)} ms`, undefined, input);
      const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
      if (grown > bytesMax) this.#fail(`takes ${grown} bytes of memory`, undefined, input);
    }
    // The batch's blocks are all known by now: what tells inputs apart is which of them shares them least.
    for (const input of inputs) if (this.#isRare(input)) this.#keep(input);
  }

  /** An input is kept when no kept one ran exactly the same blocks. */
  #isRare(input: Uint8Array): boolean {
    this.#coverage.discard();
    this.#run(input, false);
    const signature = xxh64(encodeUtf8(this.#coverage.signature()));
    if (this.#seenSignatures.has(signature)) return false;
    this.#seenSignatures.add(signature);
    return true;
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
    const stack = error instanceof Error ? (error.stack ?? '').split('\n').slice(0, 4).join(' | ') : String(error ?? '');
    const bytes = input === undefined ? '' : `, input ${toHex(input.slice(0, 2048))}`;
    this.failures.push(`${this.target.name}: ${what} ${stack}${bytes}`);
  }
}
