/**
 * What archived commits change between a backup and a moment: the newest state of each key they touch, ranges
 * they delete, system rows they set. Laid over the rows of the backup it gives those of the moment.
 *
 * Memory: what was changed between the backup and the moment, each key once.
 *
 * Invariants (test/backup/archive.test.ts)
 * - The rows given are those a backup at the moment would hold ("the store at any moment equals the model").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, toHex } from '../base/bytes.ts';
import { VarveError } from '../base/errors.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { writeCanonicalRecord } from '../format/canonical-record.ts';
import { encodeSysPrefix } from '../format/internal-key.ts';
import { type OpVisitor, visitOps } from '../format/log-ops.ts';
import { decodeRangeRow, isRangeKey } from '../format/system-rows.ts';
import { type TreeId, trees } from '../format/trees.ts';
import { parseValueRecord } from '../format/value-record.ts';
import {
  archiveDirOf,
  listArchives,
  type ReadArchive,
  readArchive,
  readArchiveEnd,
  silentOps,
} from './archive-objects.ts';
import type { Snap } from './snaps.ts';
import { backedUpValue, isBackedUp } from './system-rows.ts';
import type { VaultEnv } from './vault-state.ts';

/** A changed row; without `value` it is deleted. */
export interface ChangedRow {
  /** Row prefix. */
  readonly prefix: Uint8Array;
  readonly seq: Seq;
  /** Canonical record of a key, plain value of a system row. */
  readonly value: Uint8Array | undefined;
}

interface DeletedRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
  readonly seq: Seq;
}

export class ArchivedChanges {
  /** Last commit that was taken, and its time; those of the backup where there was none. */
  seq: Seq;
  timeMs: number;
  commits = 0;
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

  /** Takes commits above `seq` and up to `untilMs`; false when a later one was met. */
  take({ bytes, frames, name }: ReadArchive, untilMs: number): boolean {
    for (const { seqFirst, count, commitTimeMs, payloadFrom, payloadTo } of frames) {
      if (seqFirst + count - 1 <= this.seq) continue;
      if (commitTimeMs > untilMs) return false;
      const above = this.seq;
      visitOps(bytes, payloadFrom, payloadTo, seqFirst, count, this.#visitor(above, name), { file: name });
      this.commits += seqFirst + count - 1 - Math.max(above, seqFirst - 1);
      this.seq = seqFirst + count - 1;
      this.timeMs = Math.max(this.timeMs, commitTimeMs);
    }
    return true;
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
      }
      return;
    }
    if (!isBackedUp(key)) return;
    const kept = value === undefined ? undefined : backedUpValue(key, value);
    this.#set(this.#system, encodeSysPrefix(key), seq, kept);
  }

  #set(map: Map<string, ChangedRow>, prefix: Uint8Array, seq: Seq, value: Uint8Array | undefined): void {
    map.set(toHex(prefix), { prefix, seq, value });
  }
}

function sorted(rows: ReadonlyMap<string, ChangedRow>): ChangedRow[] {
  return [...rows.values()].sort((a, b) => compareBytes(a.prefix, b.prefix));
}

/**
 * What was committed between the backup and the moment; undefined where nothing was archived behind it, so
 * that the backup is all there is. VARVE_HISTORY_GONE when commits are missing between the two, or nobody
 * knows whether there were; VARVE_CORRUPT.
 */
export async function changesUntil(
  env: VaultEnv,
  snap: Snap,
  at: Date,
): Promise<ArchivedChanges | undefined> {
  const { dbUuid, timelineId, seq, timeMs } = snap.manifest;
  const dir = archiveDirOf(dbUuid, timelineId);
  const objects = (await listArchives(env, dir)).filter(({ lastSeq }) => lastSeq > seq);
  const end = await readArchiveEnd(env, dir);
  if (objects.length === 0 && (end === undefined || end.seq < seq)) return undefined;
  const untilMs = at.getTime();
  const changes = new ArchivedChanges(seq, timeMs);
  let done = seq;
  for (const object of objects) {
    if (object.firstSeq > done + 1) throw gone(snap, changes, at, done + 1, object.firstSeq - 1);
    const archive = await readArchive(env, object);
    if (!changes.take(archive, untilMs)) return changes;
    done = Math.max(done, object.lastSeq);
    if (archive.lastMs > untilMs) return changes;
  }
  const isCovered = end !== undefined && done >= end.seq && untilMs <= end.coveredMs;
  if (!isCovered) throw gone(snap, changes, at, done + 1, undefined);
  return changes;
}

function gone(
  { id }: Snap,
  { timeMs }: ArchivedChanges,
  at: Date,
  from: Seq,
  to: Seq | undefined,
): VarveError {
  const missing = to === undefined ? `from ${from} on` : `${from} .. ${to}`;
  return new VarveError(
    'VARVE_HISTORY_GONE',
    `commits ${missing} are not in the archive, so the state at ${at.toISOString()} is not known; ` +
      `what is there goes up to ${new Date(timeMs).toISOString()}, and the backup before is ${id}`,
  );
}
