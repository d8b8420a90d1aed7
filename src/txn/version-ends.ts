/**
 * How versions end: a transaction that supersedes one which holds chunks purges it in the same frame when
 * nobody can ask for it any more, and else puts it into the trash, for later.
 *
 * Readers that begin before the frame is published still see a version purged in it; a GONE row counts only
 * for readers at or above its number, and chunks lie where they are until no reader is below.
 *
 * Invariants (test/crash/crash.test.ts)
 * - Every superseded version that holds chunks is named by one PURGE or one TRASH of the transaction that
 *   superseded it (the audit of the system rows after each crash).
 */
import type { Seq } from '../base/brands.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { spaceOf } from '../format/internal-key.ts';
import { putTrash } from '../format/log-ops.ts';
import { putPurge } from '../format/purge-ops.ts';
import { recordForms, refIdAt, type ValueRecord } from '../format/value-record.ts';
import type { GroupEnd } from '../log/group-end.ts';

/** What a record refers to. */
export interface RecordRefs {
  /** Ids, one behind the other: each chunk of a list, the root of a tree. A copy. */
  readonly ids: Uint8Array;
  readonly isTree: boolean;
  /** Bytes of the value. */
  readonly size: number;
}

/** A version that was purged. */
export interface PurgedVersion extends RecordRefs {
  readonly space: number;
  readonly seq: Seq;
}

/** True when nobody can ask for version s1 of a key of that space once s2 has superseded it. */
export type DeathJudge = (space: number, s1: Seq, s2: Seq) => boolean;

/** Who decides, and hears of what was done. */
export interface VersionFate {
  /** A judge for the transaction that is sequenced now. */
  judge(): DeathJudge;
  /** Some space keeps superseded versions by their rank: `superseded` is to be told. */
  readonly watchesRanks: boolean;
  /** The newest row of a key was superseded; `prefix` is borrowed. */
  superseded(prefix: Uint8Array): void;
  /** A TRASH op with that superseding number was applied. */
  trashed(seq2: Seq): void;
  /**
   * Transaction `seq`, which ended versions, was sequenced: `purged` in it, others went to the trash. `end`
   * tells when readers see it.
   */
  ended(seq: Seq, purged: readonly PurgedVersion[], end: GroupEnd): void;
  /** Extra ops for a transaction that purges these versions. */
  encodeMore(writer: ByteWriter, purged: PurgedVersion): void;
}

/** What the record refers to; undefined where its value lies in the row. */
export function refsOf(record: ValueRecord): RecordRefs | undefined {
  if (record.form === recordForms.inline) return undefined;
  const isTree = record.form === recordForms.tree;
  const count = isTree ? 1 : record.chunks;
  const ids = new Uint8Array(count * chunkIdBytes);
  for (let i = 0; i < count; i++) {
    const at = refIdAt(record, i);
    ids.set(record.buf.subarray(at, at + chunkIdBytes), i * chunkIdBytes);
  }
  return { ids, isTree, size: record.size };
}

/** The ends of one transaction after another. */
export class VersionEnds {
  /** Undefined: every version goes to the trash. */
  fate: VersionFate | undefined;
  #judge: DeathJudge | undefined;
  #purged: PurgedVersion[] = [];
  #trashed = 0;

  /** A transaction begins; one that was given up is forgotten. */
  begin(): void {
    this.#judge = undefined;
    this.#purged = [];
    this.#trashed = 0;
  }

  /** Appends the op that ends version `seq1` of the key, superseded by the transaction `seq`. */
  encode(writer: ByteWriter, seq: Seq, prefix: Uint8Array, seq1: Seq, refs: RecordRefs): void {
    const { fate } = this;
    if (fate !== undefined) this.#judge ??= fate.judge();
    const space = spaceOf(prefix, 0);
    if (fate === undefined || this.#judge?.(space, seq1, seq) !== true) {
      putTrash(writer, seq, prefix, seq1);
      this.#trashed++;
      return;
    }
    putPurge(writer, prefix, seq1, refs.ids);
    const purged = { ...refs, space, seq: seq1 };
    fate.encodeMore(writer, purged);
    this.#purged.push(purged);
  }

  /** The transaction was sequenced and applied. */
  sequenced(seq: Seq, end: GroupEnd): void {
    if (this.#purged.length + this.#trashed > 0) this.fate?.ended(seq, this.#purged, end);
  }

  /** The newest row of a key, a put or a deletion, was superseded. */
  superseded(prefix: Uint8Array): void {
    if (this.fate?.watchesRanks === true) this.fate.superseded(prefix);
  }
}
