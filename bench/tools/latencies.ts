/** Latencies in fixed memory: a histogram whose steps are 1/16 of a power of two of microseconds. */

const stepsPerDouble = 16;
const doubles = 32;

/** Milliseconds in, quantiles out, 4.5 % too high at most. */
export class Latencies {
  readonly #counts = new Float64Array(stepsPerDouble * doubles);
  count = 0;
  maxMs = 0;

  add(ms: number): void {
    const step = Math.floor(Math.log2(Math.max(1, ms * 1000)) * stepsPerDouble);
    this.#counts[Math.min(step, this.#counts.length - 1)]!++;
    this.count++;
    if (ms > this.maxMs) this.maxMs = ms;
  }

  /** Milliseconds that the share `quantile` (0 to 1) of all stayed below; 0 when there are none. */
  quantile(quantile: number): number {
    let left = Math.ceil(quantile * this.count);
    if (left === 0) return 0;
    // What lies beyond the last step is only known by the largest.
    for (let step = 0; step < this.#counts.length - 1; step++) {
      left -= this.#counts[step]!;
      if (left <= 0) return Math.min(this.maxMs, 2 ** ((step + 1) / stepsPerDouble) / 1000);
    }
    return this.maxMs;
  }
}
