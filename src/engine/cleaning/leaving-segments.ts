/**
 * Segments that cleaning has emptied, until they are gone: a checkpoint must cover what emptied them, since
 * replay still meets the births they held; every read that began before must have ended, since versions may
 * have been purged while it began; then the catalog drops them.
 *
 * Invariants (test/engine/cleaner.test.ts, test/engine/cleaner-crash.test.ts)
 * - A segment is removed only when neither the log behind the checkpoint nor a read under way can name it ("a
 *   stream goes on while its segment is emptied", "a crash at any operation of a compaction loses nothing").
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { ChunkStore } from '../../chunk/chunk-store.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import type { ReadMarks } from '../reading/read-marks.ts';

export interface LeavingOptions {
  readonly catalogs: CatalogStore;
  readonly checkpointer: Checkpointer;
  readonly chunks: ChunkStore;
  readonly log: GroupCommit;
  readonly marks: ReadMarks;
  readonly segments: SegmentSet;
}

/** A segment without live frames, on its way out. */
interface Leaving {
  readonly no: FileNo;
  readonly bytes: number;
  /** Everything that made it so has a number up to this one. */
  readonly seq: Seq;
  /** Reads that began from then on do not need it; undefined until a checkpoint has covered `seq`. */
  fence: { readonly seq: Seq; readonly moment: number } | undefined;
}

export class LeavingSegments {
  readonly #options: LeavingOptions;
  readonly #counters: { removed: number; removedBytes: number };
  readonly #all = new Map<FileNo, Leaving>();
  #releasing: Promise<void> | undefined;

  /** Counts what it removes in `counters`. */
  constructor(options: LeavingOptions, counters: { removed: number; removedBytes: number }) {
    this.#options = options;
    this.#counters = counters;
  }

  get count(): number {
    return this.#all.size;
  }

  get numbers(): Iterable<FileNo> {
    return this.#all.keys();
  }

  has(no: FileNo): boolean {
    return this.#all.has(no);
  }

  /** Bytes of their files, by what they wait for. */
  get bytes(): { reads: number; checkpoint: number } {
    const sum = { reads: 0, checkpoint: 0 };
    for (const { fence, bytes } of this.#all.values())
      sum[fence === undefined ? 'checkpoint' : 'reads'] += bytes;
    return sum;
  }

  /** The segment has no live frame any more, by what was sequenced up to `seq`, and is condemned. */
  add(no: FileNo, bytes: number, seq: Seq): void {
    this.#all.set(no, { no, bytes, seq, fence: undefined });
  }

  /** At a clean close, behind the last checkpoint: no reader is left. */
  async removeAll(): Promise<void> {
    const { checkpointSeq } = this.#options.catalogs.catalog;
    await this.#remove(Array.from(this.#all.values()).filter(({ seq }) => seq <= checkpointSeq));
  }

  /**
   * Begins to take emptied segments over a checkpoint, then out, as far as readers allow. Resolves when what
   * was begun before has ended, and rejects as it did.
   */
  async release(): Promise<void> {
    await this.released();
    if (this.#all.size === 0) return;
    this.#releasing = this.#release();
    // Whoever waits for it is told.
    this.#releasing.catch(() => undefined);
  }

  /** Waits for what `release` has begun, and rejects as a checkpoint or an install that failed. */
  async released(): Promise<void> {
    const releasing = this.#releasing;
    this.#releasing = undefined;
    await releasing;
  }

  async #release(): Promise<void> {
    await this.#fence();
    await this.removeReady();
    // What was dropped goes with the install behind it.
    await this.#options.checkpointer.removeSegments([]);
  }

  async #fence(): Promise<void> {
    const { catalogs, checkpointer, log, marks } = this.#options;
    const waiting = (): Leaving[] =>
      Array.from(this.#all.values()).filter(({ fence }) => fence === undefined);
    if (waiting().some(({ seq }) => seq > catalogs.catalog.checkpointSeq)) await checkpointer.run();
    const { checkpointSeq } = catalogs.catalog;
    // The checkpoint has waited for every group up to its number: all of it is visible.
    const fence = { seq: log.visibleSeq, moment: marks.moment };
    for (const leaving of waiting()) if (leaving.seq <= checkpointSeq) leaving.fence = fence;
  }

  async removeReady(): Promise<void> {
    const { marks, log } = this.#options;
    if (this.#all.size === 0 || log.failure !== undefined) return;
    const horizon = marks.horizon(log.visibleSeq);
    const isReady = ({ fence }: Leaving): boolean =>
      fence !== undefined && fence.seq <= horizon && !marks.isPinnedSince(fence.moment, fence.seq);
    await this.#remove(Array.from(this.#all.values()).filter(isReady));
  }

  async #remove(ready: readonly Leaving[]): Promise<void> {
    const { checkpointer, segments, chunks } = this.#options;
    if (ready.length === 0) return;
    await checkpointer.removeSegments(ready.map(({ no }) => no));
    for (const { no, bytes } of ready) {
      // Reads under way at the file end well; a place that names it is looked up anew from now on.
      await segments.remove(no);
      this.#all.delete(no);
      chunks.pardon(no);
      this.#counters.removed++;
      this.#counters.removedBytes += bytes;
    }
  }
}
