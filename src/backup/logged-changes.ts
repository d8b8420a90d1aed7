/**
 * What commits in a log change behind a backup: the newest state of each key they touch, ranges they delete,
 * system rows they set. Laid over the rows of the backup it gives those of a later moment.
 *
 * Memory: what was changed, each key once; `bytes` tells how much.
 *
 * Invariants (test/backup/archive.test.ts, test/backup/tree-update.test.ts)
 * - The rows given are those a backup at the moment would hold ("the store at any moment equals the model",
 *   "an incremental backup has the root from scratch, whatever was changed").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, toHex } from '../base/bytes.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { writeCanonicalRecord } from '../format/canonical-record.ts';
import { encodeSysPrefix } from '../format/internal-key.ts';
import { type OpVisitor, visitOps } from '../format/log-ops.ts';
import { decodeRangeRow, isRangeKey } from '../format/system-rows.ts';
import { type TreeId, trees } from '../format/trees.ts';
import { parseValueRecord } from '../format/value-record.ts';
import { type ReadArchive, silentOps } from './archive-objects.ts';
import { backedUpValue, isBackedUp } from './system-rows.ts';

/** A changed row; without `value` it is deleted. */
export interface ChangedRow {
  /** Row prefix. */
  readonly prefix: Uint8Array;
  readonly seq: Seq;
  /** Canonical record of a key, plain value of a system row. */
  readonly value: Uint8Array | undefined;
}

/** Where the commits of a frame are. */
export interface LoggedFrame {
  readonly seqFirst: Seq;
  readonly count: number;
  readonly commitTimeMs: number;
  readonly payloadFrom: number;
  readonly payloadTo: number;
}

/** What a row takes beside its bytes. */
const rowBytes = 200;

interface DeletedRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  readonly seq: Seq;
}

export class LoggedChanges {
  /** Last commit that was taken, and its time; those of the backup where there was none. */
  seq: Seq;
  timeMs: number;
  commits = 0;
  /** Bytes of what is kept in memory, about. */
  bytes = 0;
  readonly #keys = new Map<string, ChangedRow>();
  readonly #system = new Map<string, ChangedRow>();
  readonly #ranges: DeletedRange[] = [];
  readonly #record = new ByteWriter(1024);

  constructor(seq: Seq, timeMs: number) {
    this.seq = seq;
    this.timeMs = timeMs;
  }

  /** Changed keys in order. */
  keys(): ChangedRow[] {
    return sorted(this.#keys);
  }

  /** Changed system rows in order. */
  system(): ChangedRow[] {
    return sorted(this.#system);
  }

  /** A range that was deleted later covers the version. */
  hides(prefix: Uint8Array, seq: Seq): boolean {
    return this.#ranges.some(
      (range) =>
        range.seq > seq &&
        compareBytes(prefix, range.from) >= 0 &&
        (range.to === undefined || compareBytes(prefix, range.to) < 0),
    );
  }

  /** A deleted range meets the rows after `after` up to `last`. */
  deletesWithin(after: Uint8Array, last: Uint8Array): boolean {
    return this.#ranges.some(
      ({ from, to }) => compareBytes(from, last) <= 0 && (to === undefined || compareBytes(after, to) < 0),
    );
  }

  /** Takes commits above `seq` and up to `untilMs`; false when a later one was met. */
  take({ bytes, frames, name }: ReadArchive, untilMs: number): boolean {
    for (const frame of frames) {
      if (frame.seqFirst + frame.count - 1 <= this.seq) continue;
      if (frame.commitTimeMs > untilMs) return false;
      this.takeFrame(bytes, frame, name);
    }
    return true;
  }

  /** Takes what of a BATCH frame is above `seq`; everything is copied. VARVE_CORRUPT; `file` for messages. */
  takeFrame(buf: Uint8Array, frame: LoggedFrame, file: string): void {
    const { seqFirst, count, commitTimeMs, payloadFrom, payloadTo } = frame;
    const above = this.seq;
    visitOps(buf, payloadFrom, payloadTo, seqFirst, count, this.#visitor(above, file), { file });
    this.seq = Math.max(above, seqFirst + count - 1);
    this.commits += this.seq - Math.max(above, seqFirst - 1);
    this.timeMs = Math.max(this.timeMs, commitTimeMs);
  }

  #visitor(above: Seq, file: string): OpVisitor {
    return {
      ...silentOps,
      put: (tree, seq, buf, keyFrom, keyTo, from, to) => {
        if (tree !== trees.K || seq <= above) return;
        const record = parseValueRecord(buf, from, to, { file });
        this.#record.clear();
        writeCanonicalRecord(this.#record, record, from, to);
        this.#set(this.#keys, buf.slice(keyFrom, keyTo), seq, this.#record.written().slice());
      },
      del: (tree: TreeId, seq, buf, keyFrom, keyTo, covering) => {
        // Late deletes carry out a range that is known already.
        if (tree === trees.K && covering === 0 && seq > above)
          this.#set(this.#keys, buf.slice(keyFrom, keyTo), seq, undefined);
      },
      sys: (seq, buf, keyFrom, keyTo, from, to) => {
        if (seq > above) this.#sys(seq, buf.slice(keyFrom, keyTo), to < 0 ? undefined : buf.slice(from, to));
      },
    };
  }

  #sys(seq: Seq, key: Uint8Array, value: Uint8Array | undefined): void {
    if (isRangeKey(key)) {
      if (value !== undefined) {
        const { from, to } = decodeRangeRow(key, value);
        this.#ranges.push({ from, to, seq });
        this.bytes += rowBytes + from.length + (to?.length ?? 0);
      }
      return;
    }
    if (!isBackedUp(key)) return;
    const kept = value === undefined ? undefined : backedUpValue(key, value);
    this.#set(this.#system, encodeSysPrefix(key), seq, kept);
  }

  #set(map: Map<string, ChangedRow>, prefix: Uint8Array, seq: Seq, value: Uint8Array | undefined): void {
    map.set(toHex(prefix), { prefix, seq, value });
    this.bytes += rowBytes + 3 * prefix.length + (value?.length ?? 0);
  }
}

function sorted(rows: ReadonlyMap<string, ChangedRow>): ChangedRow[] {
  return [...rows.values()].sort((a, b) => compareBytes(a.prefix, b.prefix));
}
