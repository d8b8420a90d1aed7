/**
 * Deleting many keys as one commit: a range of a space, all of it, or the space with its name. Whatever the
 * size, one system row is written; the reaper frees what it covers afterwards.
 *
 * Invariants (test/engine/delete-range.test.ts):
 * - every read begun after the call has resolved sees none of the keys, every one begun before still does;
 * - keys put after the commit are not touched by it, however late it is carried out.
 */
import { compareBytes } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { pendingRangesMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { rangesFeature } from '../../format/format-ladder.ts';
import { boundsOf, type KeyRange } from '../../format/internal-key.ts';
import { putSys } from '../../format/log-ops.ts';
import { encodeRangeRow, rangeKey } from '../../format/system-rows.ts';
import { keyBytes, throwIfAborted } from '../key-args.ts';
import type { Store, WriteSide } from '../store.ts';
import type { DeleteRangeOptions } from '../types.ts';

const boundNames = ['prefix', 'gt', 'gte', 'lt', 'lte'] as const;
/** What a range row and its op take in the log beside the bounds, at most. */
const rowBytes = 128;

interface Bounds {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

export class RangeDeletes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async deleteRange(space: number, options: DeleteRangeOptions): Promise<{ seq: number }> {
    const write = this.#store.writable();
    if (typeof options !== 'object' || options === null)
      throw invalid('deleteRange takes an object of bounds');
    checkNames(options, [...boundNames, 'signal'], 'option');
    const range: KeyRange = {};
    for (const name of boundNames) {
      const bound = options[name];
      if (bound !== undefined) range[name] = keyBytes(bound, name);
    }
    if (Object.keys(range).length === 0) {
      throw invalid('deleteRange takes at least one bound; clear() removes every key');
    }
    throwIfAborted(options.signal);
    return await this.#delete(write, space, boundsOf(range, space), options.signal);
  }

  async clear(space: number, options: { signal?: AbortSignal } = {}): Promise<{ seq: number }> {
    const write = this.#store.writable();
    checkNames(options, ['signal'], 'option');
    throwIfAborted(options.signal);
    return await this.#delete(write, space, boundsOf({}, space), options.signal);
  }

  /** False when no such space was ever written to, or not since it was dropped. */
  async drop(name: string, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    const write = this.#store.writable();
    checkNames(options, ['signal'], 'option');
    const { spaces, indexes } = this.#store.parts;
    spaces.known(name);
    throwIfAborted(options.signal);
    await this.#ready(write, options.signal);
    const number = spaces.known(name);
    if (number === undefined) {
      await write.log.drained();
      return false;
    }
    const dropped = indexes.drop(indexes.list(number));
    const rows = [...spaces.rowsToDrop(name), ...this.#store.history.rowsToDrop(number), ...dropped.rows];
    const bytes = rows.reduce((sum, { key }) => sum + rowBytes + key.length, 0);
    const committed = this.#sequence(write, boundsOf({}, number), bytes, (put) => {
      for (const { key, value } of rows) put(key, value);
    });
    spaces.dropped(name);
    dropped.apply();
    await this.#done(write, committed.done);
    return true;
  }

  async #delete(
    write: WriteSide,
    space: number,
    bounds: Bounds,
    signal: AbortSignal | undefined,
  ): Promise<{ seq: number }> {
    if (bounds.to !== undefined && compareBytes(bounds.from, bounds.to) >= 0) {
      await write.log.drained();
      return { seq: write.log.visibleSeq };
    }
    await this.#ready(write, signal);
    this.#store.parts.spaces.assertLive(space);
    const committed = this.#sequence(write, bounds, 0, () => undefined);
    await this.#done(write, committed.done);
    return { seq: committed.seq };
  }

  /** Waits until there is room for one more range. */
  async #ready(write: WriteSide, signal: AbortSignal | undefined): Promise<void> {
    const { forest } = this.#store;
    await write.pacer.wait();
    await write.checkpointer.require(rangesFeature);
    while (forest.ranges.count >= pendingRangesMax) {
      await write.log.drained();
      throwIfAborted(signal);
      this.#store.writable();
      if (write.reaper.work.stuck !== undefined) {
        throw new VarveError(
          'VARVE_READ_ONLY',
          'too many range deletes wait, and damage keeps them waiting',
          {
            cause: write.reaper.work.stuck,
          },
        );
      }
      write.reaper.work.startIfDue();
      await this.#store.parts.env.clock.turn();
    }
    throwIfAborted(signal);
    this.#store.stillWritable();
  }

  #sequence(
    write: WriteSide,
    { from, to }: Bounds,
    moreBytes: number,
    more: (put: (key: Uint8Array, value: Uint8Array | undefined) => void) => void,
  ): { readonly seq: number; readonly done: Promise<void> } {
    const bytes = rowBytes + from.length + (to?.length ?? 0) + moreBytes;
    const committed = write.txn.sequence(bytes, (writer, seq, timeMs) => {
      more((key, value) => putSys(writer, key, value));
      putSys(writer, rangeKey(seq), encodeRangeRow({ timeMs, from, to }));
    });
    write.pacer.charge(bytes);
    write.checkpointer.startIfDue();
    return committed;
  }

  async #done(write: WriteSide, done: Promise<void>): Promise<void> {
    await done;
    write.reaper.work.startIfDue();
    write.indexWork.work.startIfDue();
  }
}
