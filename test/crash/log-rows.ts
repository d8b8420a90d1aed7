/**
 * The rows of every commit, read from the log files of a run as they were before they went. Tables may have
 * lost rows to merges by then; the log has them all.
 */
import { decodeUtf8, startsWith, toHex } from '../../src/base/bytes.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { fileDir, parseFileName } from '../../src/format/file-names.ts';
import { snapshotPrefix } from '../../src/format/history-rows.ts';
import { indexRowPrefix } from '../../src/format/index-rows.ts';
import { decodeInternalKey, encodeInternalKey } from '../../src/format/internal-key.ts';
import { frameTypes } from '../../src/format/log-frame.ts';
import { type OpVisitor, visitOps } from '../../src/format/log-ops.ts';
import { decodeRulesRow, isRulesKey, ruledSpaceOf } from '../../src/format/space-rules.ts';
import {
  decodeRangeRow,
  decodeSpaceRow,
  isRangeKey,
  type RangeRow,
  spacePrefix,
} from '../../src/format/system-rows.ts';
import { trees } from '../../src/format/trees.ts';
import { deleteRecord } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { scanLog } from '../../src/log/log-reader.ts';
import type { Row } from './row.ts';

/** A name was given to a space, or taken back with it. */
export interface SpaceRow {
  readonly seq: number;
  readonly name: string;
  readonly number: number | undefined;
}

/** A named snapshot or index was made, or taken away; or a rule of the store's own keys. */
export interface Mark {
  readonly seq: number;
  readonly kind: 'snapshot' | 'index' | 'rules';
  readonly name: string;
  readonly isThere: boolean;
}

/** Rules that a crash may find set, or not. */
export const ruleNames = ['quotaBytes', 'retention'] as const;

const bySeq = (a: { seq: number }, b: { seq: number }): number => a.seq - b.seq;

const folder = `${fileDir('wal', 1)}/`;

export class LogRows {
  readonly #rows = new Map<string, Row>();
  readonly #ranges = new Map<number, RangeRow>();
  readonly #spaceRows = new Map<string, SpaceRow>();
  readonly #marks = new Map<string, Mark>();
  #waiting: { path: string; disk: MemoryFileSystem }[] = [];

  /** Rows known so far, by number, then key. `from`: what an earlier run knew. */
  constructor(from?: LogRows) {
    if (from === undefined) return;
    this.#rows = new Map(from.#rows);
    this.#ranges = new Map(from.#ranges);
    this.#spaceRows = new Map(from.#spaceRows);
    this.#marks = new Map(from.#marks);
    this.#waiting = from.#waiting.slice();
  }

  /**
   * Called before `path` is removed from `disk`. Two installs that clean up at once remove a file twice: the
   * second time there is nothing to read.
   */
  removed(disk: MemoryFileSystem, path: string): void {
    if (path.startsWith(folder) && disk.files().includes(path))
      this.#waiting.push({ path, disk: disk.fork() });
  }

  /** Range deletes known so far, by number. */
  get ranges(): RangeRow[] {
    return Array.from(this.#ranges.values()).sort(bySeq);
  }

  /** Rows of spaces known so far, by number. */
  get spaceRows(): SpaceRow[] {
    return Array.from(this.#spaceRows.values()).sort(bySeq);
  }

  /** Snapshots and indexes made and taken away, by number. */
  get marks(): Mark[] {
    return Array.from(this.#marks.values()).sort(bySeq);
  }

  /** All rows, without late ones, once the run on `disk` has ended. */
  async all(disk: MemoryFileSystem): Promise<Row[]> {
    for (const path of disk.files()) if (path.startsWith(folder)) this.#waiting.push({ path, disk });
    const { dbUuid } = (await CatalogStore.load(disk)).slot;
    for (const { path, disk: from } of this.#waiting) await this.#read(from, path, dbUuid);
    this.#waiting = [];
    return Array.from(this.#rows.values()).sort((a, b) => a.seq - b.seq || (a.key < b.key ? -1 : 1));
  }

  async #read(disk: MemoryFileSystem, path: string, dbUuid: Uint8Array): Promise<void> {
    const { no } = parseFileName(path.slice(folder.length))!;
    for await (const item of scanLog(disk, path, { no, dbUuid })) {
      if (item.kind !== 'frame') continue;
      const { frame, payload } = item;
      if (frame.type !== frameTypes.batch) continue;
      const visitor = this.#visitor(frame.commitTimeMs);
      visitOps(payload, 0, payload.length, frame.seqFirst, frame.count, visitor, { file: path });
    }
  }

  #visitor(timeMs: number): OpVisitor {
    const note = (seq: number, prefix: Uint8Array, isPut: boolean, record: string): void => {
      const whole = encodeInternalKey(prefix, seq);
      const { space, userKey } = decodeInternalKey(whole, 0, whole.length);
      const key = toHex(userKey);
      this.#rows.set(`${seq} ${space} ${key}`, { seq, space, key, isPut, isLate: false, record });
    };
    const ignore = (): void => undefined;
    return {
      put(tree, seq, buf, keyFrom, keyTo, valueFrom, valueTo) {
        if (tree === trees.K)
          note(seq, buf.subarray(keyFrom, keyTo), true, toHex(buf.subarray(valueFrom, valueTo)));
      },
      del(tree, seq, buf, keyFrom, keyTo, covering) {
        if (tree === trees.K && covering === 0)
          note(seq, buf.subarray(keyFrom, keyTo), false, toHex(deleteRecord(timeMs)));
      },
      chunk: ignore,
      move: ignore,
      purge: ignore,
      listDrop: ignore,
      trash: ignore,
      sys: (seq, buf, keyFrom, keyTo, valueFrom, valueTo) => {
        const key = buf.slice(keyFrom, keyTo);
        this.#sys(seq, key, valueTo < 0 ? undefined : buf.slice(valueFrom, valueTo));
      },
    };
  }

  #sys(seq: number, key: Uint8Array, value: Uint8Array | undefined): void {
    if (isRangeKey(key) && value !== undefined) this.#ranges.set(seq, decodeRangeRow(key, value));
    const note = (mark: Omit<Mark, 'seq'>): void => {
      this.#marks.set(`${seq} ${mark.kind} ${mark.name}`, { seq, ...mark });
    };
    const mark = markOf(key);
    if (mark !== undefined) note({ ...mark, isThere: value !== undefined });
    if (isRulesKey(key) && ruledSpaceOf(key) === 0) {
      const rules = value === undefined ? undefined : decodeRulesRow(value);
      for (const name of ruleNames) note({ kind: 'rules', name, isThere: rules?.[name] !== undefined });
    }
    if (!startsWith(key, spacePrefix)) return;
    const name = decodeUtf8(key.subarray(spacePrefix.length))!;
    const number = value === undefined ? undefined : decodeSpaceRow(key, value).number;
    this.#spaceRows.set(`${seq} ${name}`, { seq, name, number });
  }
}

function markOf(key: Uint8Array): Pick<Mark, 'kind' | 'name'> | undefined {
  if (startsWith(key, snapshotPrefix))
    return { kind: 'snapshot', name: decodeUtf8(key.subarray(snapshotPrefix.length))! };
  if (!startsWith(key, indexRowPrefix)) return undefined;
  return { kind: 'index', name: decodeUtf8(key.subarray(indexRowPrefix.length + indexSpaceBytes))! };
}

/** The number of the space, before the name. */
const indexSpaceBytes = 4;
