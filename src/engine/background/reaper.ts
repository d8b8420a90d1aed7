/**
 * Carries out range deletes in the background: the range row of a commit c becomes a late delete for each key
 * it hides, in bounded steps, oldest range first; then the row goes.
 *
 *   look at some keys -> late deletes (and trash rows of versions with chunks) as one commit -> next keys
 *   -> with the last of them, the range row is removed
 *
 * A late delete has the number c: it stands in the key's history where the range delete does. It is written
 * where the newest version below c is one that a reader would see; so steps may be repeated, and after a
 * crash the range is begun again from its front.
 *
 * Invariants (test/engine/reaper.test.ts, test/engine/delete-range.test.ts)
 * - No answer changes, at any moment and for any reader ("scans and reads see the same while ranges are
 *   reaped under them").
 * - A crash anywhere leaves the range pending or carried out ("a crash at any operation loses no delete").
 * - Only ranges that readers see are touched; after `stop` nothing runs ("close ends the reaper").
 * - Every version with chunks that a range has deleted is in the trash once, when its range is done
 *   ("versions with chunks go to the trash").
 */
import type { Seq } from '../../base/brands.ts';
import { reapBytesTarget, reapDeletesMax, reapRowsMax } from '../../base/limits.ts';
import { seqOf } from '../../format/internal-key.ts';
import { putDelete, putSys, putTrash } from '../../format/log-ops.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { type RangeRow, rangeKey } from '../../format/system-rows.ts';
import { trees } from '../../format/trees.ts';
import { parseValueRecord, recordForm, recordForms, type ValueRecord } from '../../format/value-record.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { EntryWriter } from '../../secondary/entry-writer.ts';
import type { KeyCursor } from '../../tree/cursor.ts';
import type { Forest } from '../../tree/forest.ts';
import { walkPrefixes } from '../../tree/prefix-walk.ts';
import { usedRowBytes } from '../../txn/space-use.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';
import type { WritePacer } from '../writing/write-pacer.ts';
import { Background } from './background.ts';
import type { Checkpointer } from './checkpointer.ts';
import { relieved, settled } from './paced-step.ts';

/** What a late delete takes in the log and the trees beside its key, about. */
const rowBytes = 64;

/** What one step looks at and writes, at most: rows (a key is not parted), late deletes, bytes of those. */
export interface ReapLimits {
  readonly rows: number;
  readonly deletes: number;
  readonly bytes: number;
}

export const defaultReapLimits: ReapLimits = {
  rows: reapRowsMax,
  deletes: reapDeletesMax,
  bytes: reapBytesTarget,
};

export interface ReaperOptions {
  readonly env: Env;
  readonly forest: Forest;
  readonly log: GroupCommit;
  readonly txn: TxnWriter;
  readonly entries: EntryWriter;
  readonly checkpointer: Checkpointer;
  readonly pacer: WritePacer;
  readonly health: HealthBook;
  readonly logger: Logger;
  readonly limits: ReapLimits;
  /** Late deletes can be read: what they superseded may go. */
  readonly onStep: () => void;
}

/** A version to be hidden for good. */
interface Doomed {
  readonly prefix: Uint8Array;
  readonly seq: Seq;
  readonly hasChunks: boolean;
  /** Bytes of the value. */
  readonly size: number;
  /** Row prefixes of its entries in indexes. */
  readonly entries: readonly Uint8Array[];
}

interface Found {
  readonly doomed: readonly Doomed[];
  /** Where to go on; undefined when the range is done. */
  readonly next: Uint8Array | undefined;
}

export class Reaper {
  /** Since the engine was opened. */
  readonly counters = { ranges: 0, deletes: 0 };
  /** Stuck: rows are damaged, and ranges are not carried out any more. */
  readonly work: Background;
  readonly #options: ReaperOptions;
  /** Where the range under way goes on. */
  #at: { readonly seq: Seq; readonly from: Uint8Array } | undefined;

  constructor(options: ReaperOptions) {
    this.#options = options;
    this.work = new Background(options, {
      what: 'carrying out a range delete',
      isDue: () => this.#due() !== undefined,
      step: () => this.#step(this.#due()!),
    });
  }

  /** The oldest pending range, once readers see it. */
  #due(): RangeRow | undefined {
    const oldest = this.#options.forest.ranges.oldest();
    return oldest !== undefined && oldest.seq <= this.#options.log.visibleSeq ? oldest : undefined;
  }

  async #step(range: RangeRow): Promise<void> {
    const { txn } = this.#options;
    await relieved(this.work, this.#options);
    const from = this.#at?.seq === range.seq ? this.#at.from : range.from;
    const { doomed, next } = await findDoomed(this.#options, range, from);
    if (this.work.isOver) return;
    if (doomed.length > 0 || next === undefined) {
      const bytes = doomed.reduce((sum, version) => sum + logBytesOf(version), rowBytes);
      const committed = txn.sequence(bytes + usedRowBytes, (writer) => {
        txn.use.begin();
        for (const { prefix, seq, hasChunks, size, entries } of doomed) {
          txn.use.note(prefix, size, 0);
          putDelete(writer, trees.K, prefix, range.seq);
          for (const key of entries) putDelete(writer, trees.X, key, range.seq);
          if (hasChunks) putTrash(writer, range.seq, prefix, seq);
        }
        txn.use.encode(writer);
        if (next === undefined) putSys(writer, rangeKey(range.seq), undefined);
      });
      for (const { prefix } of doomed) txn.ends.superseded(prefix);
      await settled(this.work, this.#options, bytes, committed.done);
      this.#options.onStep();
    }
    this.counters.deletes += doomed.length;
    this.#at = next === undefined ? undefined : { seq: range.seq, from: next };
    if (next === undefined) this.counters.ranges++;
  }
}

const none: readonly Uint8Array[] = [];

/** What the end of a version takes in the log, about. */
function logBytesOf({ prefix, entries }: Doomed): number {
  return entries.reduce((sum, key) => sum + 16 + key.length, rowBytes + 2 * prefix.length);
}

function recordHere({ valueBytes, valueFrom, valueTo }: KeyCursor): ValueRecord {
  return parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' });
}

/** Versions of some keys, from `from` on, that the range must hide by a late delete of its own. */
async function findDoomed(
  { forest, limits, entries: indexes }: ReaperOptions,
  { seq: c, to }: RangeRow,
  from: Uint8Array,
): Promise<Found> {
  const doomed: Doomed[] = [];
  let isDecided = false;
  let bytes = 0;
  const { next } = await walkPrefixes(forest.keys, {
    from,
    to,
    isFull: (rows) => rows >= limits.rows || doomed.length >= limits.deletes || bytes >= limits.bytes,
    row: (cursor, prefix, isFirst) => {
      if (isFirst) isDecided = false;
      const seq = seqOf(cursor.keyBytes, cursor.keyTo);
      if (isDecided || seq > c) return;
      isDecided = true;
      const kind = rowKindAt(cursor.valueBytes, cursor.valueFrom);
      // A version that is gone is hidden too: readers between c and the commit that purged it would see it.
      if (seq === c || (kind !== rowKinds.put && kind !== rowKinds.gone)) return;
      const isPut = kind === rowKinds.put;
      const hasChunks = isPut && recordForm(cursor.valueBytes, cursor.valueFrom) !== recordForms.inline;
      const record = isPut ? recordHere(cursor) : undefined;
      const isIndexed = record !== undefined && indexes.covers(prefix);
      const entries = isIndexed ? indexes.keysOf(prefix, record) : none;
      const version = { prefix, seq, hasChunks, size: record?.size ?? 0, entries };
      doomed.push(version);
      bytes += logBytesOf(version);
    },
  });
  return { doomed, next };
}
