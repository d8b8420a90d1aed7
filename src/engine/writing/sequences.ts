/**
 * Unique rising numbers, taken from a counter in blocks: a key holds the highest number that was reserved,
 * and what is reserved and not given out is kept in memory. What is left of a block when the store is closed
 * is never given out.
 *
 * Invariants (test/engine/updates.test.ts)
 * - A number is given out once, and only when its reservation is as durable as a put ("numbers are unique,
 *   also over crashes").
 * - Calls that wait for numbers share one commit.
 */
import { invalid } from '../../base/errors.ts';
import { sequenceBlockMax, sequencesKeptMax } from '../../base/limits.ts';
import { type Deferred, deferred } from '../../base/sync.ts';

/** Numbers of one sequence. */
interface Block {
  /** Reserved and not given out: next .. last. */
  next: number;
  last: number;
  waiting: { readonly cache: number; readonly number: Deferred<number> }[];
  isFilling: boolean;
}

export class Sequences {
  readonly #blocks = new Map<string, Block>();

  /**
   * The next number of the sequence called `name`; `reserve` adds to its counter and resolves with the sum
   * once that is durable.
   */
  next(name: string, cache: number, reserve: (count: number) => Promise<number>): Promise<number> {
    if (!(Number.isInteger(cache) && cache >= 1 && cache <= sequenceBlockMax)) {
      throw invalid(`cache must be an integer from 1 to ${sequenceBlockMax}`, { actual: cache });
    }
    const block = this.#blocks.get(name) ?? this.#begin(name);
    if (block.waiting.length === 0 && block.next <= block.last) return Promise.resolve(block.next++);
    const number = deferred<number>();
    block.waiting.push({ cache, number });
    if (!block.isFilling) void this.#fill(name, block, reserve);
    return number.promise;
  }

  #begin(name: string): Block {
    for (const [other, { waiting }] of this.#blocks) {
      if (this.#blocks.size < sequencesKeptMax) break;
      if (waiting.length === 0) this.#blocks.delete(other);
    }
    const block = { next: 1, last: 0, waiting: [], isFilling: false };
    this.#blocks.set(name, block);
    return block;
  }

  /** Reserves until nobody waits. Never rejects: those who wait are told. */
  async #fill(name: string, block: Block, reserve: (count: number) => Promise<number>): Promise<void> {
    block.isFilling = true;
    while (block.waiting.length > 0) {
      const count = block.waiting.reduce((most, { cache }) => Math.max(most, cache), block.waiting.length);
      try {
        const last = await reserve(count);
        block.next = last - count + 1;
        block.last = last;
      } catch (error) {
        this.#blocks.delete(name);
        for (const { number } of block.waiting.splice(0)) number.reject(error);
        break;
      }
      const served = block.waiting.splice(0, block.last - block.next + 1);
      for (const { number } of served) number.resolve(block.next++);
    }
    block.isFilling = false;
  }
}
