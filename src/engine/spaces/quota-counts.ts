/**
 * Counts the values of spaces that have got a quota and values before, in the background, while writes go on:
 *
 *   range deletes of the space are carried out -> a used row begins to count what comes and goes, and the
 *   number of its commit is pinned -> the values at that number are added up, some at a time -> one commit
 *   adds the sum to what has come and gone since
 *
 * After that each commit counts for itself (txn/space-use.ts). A crash in between begins it anew.
 *
 * Invariants (test/engine/quota.test.ts)
 * - The sum is that of all values, whatever was written meanwhile ("values that were there before are counted
 *   while writes go on").
 */
import type { Seq } from '../../base/brands.ts';
import { reapRowsMax } from '../../base/limits.ts';
import { boundsOf, seqOf } from '../../format/internal-key.ts';
import { putSys } from '../../format/log-ops.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { encodeUsedRow, type SpaceUsed, usedKey } from '../../format/space-rules.ts';
import { parseValueRecord } from '../../format/value-record.ts';
import { walkPrefixes } from '../../tree/prefix-walk.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import { Background, type BackgroundOptions } from '../background/background.ts';
import type { Expirer } from '../background/expirer.ts';
import { type PaceParts, relieved, settled } from '../background/paced-step.ts';
import type { Reaper } from '../background/reaper.ts';
import type { Pin, ReadMarks } from '../reading/read-marks.ts';

/** What a used row takes in the log, at most. */
const rowBytes = 128;

export interface QuotaCountsOptions extends BackgroundOptions, PaceParts {
  readonly txn: TxnWriter;
  readonly marks: ReadMarks;
  readonly reaper: Reaper;
  readonly expirer: Expirer;
}

/** A count under way. */
interface Count {
  readonly space: number;
  readonly fromSeq: Seq;
  readonly pin: Pin;
  /** Where it goes on. */
  readonly next: Uint8Array;
  readonly bytes: number;
}

export class QuotaCounts {
  readonly work: Background;
  readonly #options: QuotaCountsOptions;
  #count: Count | undefined;

  constructor(options: QuotaCountsOptions) {
    this.#options = options;
    this.work = new Background(options, {
      what: 'counting the values of a space',
      isDue: () => this.#count !== undefined || this.#due() !== undefined,
      step: () => this.#step(),
      stopped: () => this.#end(),
    });
  }

  /**
   * After VARVE_QUOTA: lets range deletes and what has expired give back what they will. False when there was
   * nothing of that, or it cannot be done now.
   */
  async givenBack(): Promise<boolean> {
    const { reaper, expirer, forest, log } = this.#options;
    await log.drained();
    const before = { ranges: forest.ranges.count, deleted: expirer.deleted };
    reaper.work.startIfDue();
    expirer.work.startIfDue();
    await expirer.work.idle();
    await reaper.work.idle();
    return forest.ranges.count < before.ranges || expirer.deleted > before.deleted;
  }

  /** A space with a quota whose values are not all counted. */
  #due(): number | undefined {
    const { rules } = this.#options.forest.history;
    for (const space of rules.spaces) {
      const { quotaBytes } = rules.rulesOf(space);
      if (quotaBytes !== undefined && rules.usedOf(space)?.isWhole !== true) return space;
    }
    return undefined;
  }

  async #step(): Promise<void> {
    await relieved(this.work, this.#options);
    if (this.work.isOver) return;
    const count = this.#count;
    if (count === undefined) return await this.#begin(this.#due()!);
    if (this.#usedBy(count) === undefined) return this.#end();
    await this.#goOn(count);
  }

  /** The row of the count; undefined when it is not wanted any more. */
  #usedBy({ space, fromSeq }: Count): SpaceUsed | undefined {
    const { rules } = this.#options.forest.history;
    const used = rules.usedOf(space);
    return used?.fromSeq === fromSeq && rules.rulesOf(space).quotaBytes !== undefined ? used : undefined;
  }

  async #begin(space: number): Promise<void> {
    const { forest, reaper, txn, marks } = this.#options;
    const { from, to } = boundsOf({}, space);
    if (forest.ranges.current.meets(from, to, 0)) {
      await this.#options.log.drained();
      reaper.work.startIfDue();
      await this.work.orStopped(reaper.work.idle());
      if (reaper.work.stuck !== undefined) throw reaper.work.stuck;
      return;
    }
    const { seq, done } = txn.sequence(rowBytes, (writer, fromSeq) => {
      putSys(writer, usedKey(space), encodeUsedRow({ isWhole: false, fromSeq, added: 0, removed: 0 }));
    });
    this.#count = { space, fromSeq: seq, pin: marks.pin(seq), next: from, bytes: 0 };
    await settled(this.work, this.#options, rowBytes, done);
  }

  async #goOn(count: Count): Promise<void> {
    const { forest, txn } = this.#options;
    const { space, fromSeq } = count;
    let { bytes } = count;
    let isDecided = false;
    // What ranges deleted later hide was there at that number: carrying them out takes it away again.
    const { next } = await walkPrefixes(forest.keys, {
      from: count.next,
      to: boundsOf({}, space).to,
      isFull: (rows) => rows >= reapRowsMax,
      row: ({ keyBytes, keyTo, valueBytes, valueFrom, valueTo }, _prefix, isFirst) => {
        if (isFirst) isDecided = false;
        const kind = rowKindAt(valueBytes, valueFrom);
        // A version purged since is still there, behind the row that says so: its number is pinned.
        if (isDecided || kind === rowKinds.gone || seqOf(keyBytes, keyTo) > fromSeq) return;
        isDecided = true;
        if (kind !== rowKinds.put) return;
        bytes += parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' }).size;
      },
    });
    if (this.work.isOver) return;
    if (next !== undefined) {
      this.#count = { ...count, next, bytes };
      return;
    }
    const used = this.#usedBy(count);
    this.#end();
    if (used === undefined) return;
    const added = bytes + used.added - used.removed;
    const { done } = txn.sequence(rowBytes, (writer) => {
      putSys(writer, usedKey(space), encodeUsedRow({ isWhole: true, fromSeq, added, removed: 0 }));
    });
    await settled(this.work, this.#options, rowBytes, done);
  }

  #end(): void {
    this.#count?.pin.end();
    this.#count = undefined;
  }
}
