/**
 * The rows of every commit, read from the log files of a run as they were before they went. Tables may have
 * lost rows to merges by then; the log has them all.
 */
import { toHex } from '../../src/base/bytes.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { fileDir, parseFileName } from '../../src/format/file-names.ts';
import { decodeInternalKey, encodeInternalKey } from '../../src/format/internal-key.ts';
import { frameTypes } from '../../src/format/log-frame.ts';
import { type OpVisitor, visitOps } from '../../src/format/log-ops.ts';
import { trees } from '../../src/format/trees.ts';
import { deleteRecord } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { scanLog } from '../../src/log/log-reader.ts';
import type { Row } from './audit.ts';

const folder = `${fileDir('wal', 1)}/`;

export class LogRows {
  readonly #rows = new Map<string, Row>();
  #waiting: { path: string; disk: MemoryFileSystem }[] = [];

  /** Rows known so far, by number, then key. `from`: what an earlier run knew. */
  constructor(from?: LogRows) {
    if (from === undefined) return;
    this.#rows = new Map(from.#rows);
    this.#waiting = from.#waiting.slice();
  }

  /** Called before `path` is removed from `disk`. */
  removed(disk: MemoryFileSystem, path: string): void {
    if (path.startsWith(folder)) this.#waiting.push({ path, disk: disk.fork() });
  }

  /** All rows, once the run on `disk` has ended. */
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
      this.#rows.set(`${seq} ${space} ${key}`, { seq, space, key, isPut, record });
    };
    const ignore = (): void => undefined;
    return {
      put(tree, seq, buf, keyFrom, keyTo, valueFrom, valueTo) {
        if (tree === trees.K)
          note(seq, buf.subarray(keyFrom, keyTo), true, toHex(buf.subarray(valueFrom, valueTo)));
      },
      del(tree, seq, buf, keyFrom, keyTo) {
        if (tree === trees.K) note(seq, buf.subarray(keyFrom, keyTo), false, toHex(deleteRecord(timeMs)));
      },
      chunk: ignore,
      move: ignore,
      trash: ignore,
      sys: ignore,
    };
  }
}
