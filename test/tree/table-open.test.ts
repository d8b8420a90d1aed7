import { describe, expect, test } from 'vitest';
import { filePath } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsOp } from '../../src/fs/sim-machine.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { dbUuid, noCache, putRow, rejection, tableOf } from './table-kit.ts';

describe('opening a table', () => {
  test('opening a small table reads it once', async () => {
    const fs = new MemoryFileSystem();
    const meta = await tableOf(fs, [putRow('a', 1), putRow('b', 2)]);
    const ops: string[] = [];
    fs.faults = ({ kind, length }) => {
      ops.push(kind === 'read' ? `read ${length}` : kind);
      return undefined;
    };
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(ops).toEqual(['open', 'size', `read ${meta.size}`]);
    table.release();
  });

  test('a large table costs two reads, and an unreadable sector among its rows is got around', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 3000 }, (_, i) =>
      putRow(`key ${String(i).padStart(5, '0')}`, i, 'x'.repeat(60)),
    );
    const meta = await tableOf(fs, rows);
    expect(meta.size).toBeGreaterThan(128 * 1024);
    let reads = 0;
    let bad = -1;
    fs.faults = ({ kind, pos = 0, length = 0 }) => {
      if (kind === 'read') reads++;
      return kind === 'read' && pos <= bad && bad < pos + length ? { errno: 'EIO' } : undefined;
    };
    (await KeyTable.open(fs, meta, { dbUuid, cache: noCache() })).release();
    expect(reads).toBe(2);
    bad = meta.size - 60_000;
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(table.problems).toEqual([]);
    table.release();
  });

  test('filter and index of a large table are one read', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 50_000 }, (_, i) => putRow(`k${String(i).padStart(6, '0')}`, i, ''));
    const meta = await tableOf(fs, rows);
    const reads: [number, number][] = [];
    fs.faults = ({ kind, pos = 0, length = 0 }) => {
      if (kind === 'read') reads.push([pos, pos + length]);
      return undefined;
    };
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(table.filterBytes).toBeGreaterThan(64 * 1024);
    const dataEnd = table.index.offsetOf(table.index.blocks - 1);
    expect(reads.filter(([from]) => from > dataEnd)).toHaveLength(2);
    expect(reads).toHaveLength(3);
    table.release();
    // A bad sector in the filter costs the filter, and nothing else.
    fs.faults = ({ kind, pos = 0, length = 0 }) => {
      const at = dataEnd + 16_384;
      return kind === 'read' && pos <= at && at < pos + length ? { errno: 'EIO' } : undefined;
    };
    const other = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    expect(other.problems).toMatchObject([{ code: 'VARVE_IO' }]);
    expect(other.index.blocks).toBe(table.index.blocks);
    other.release();
  });

  test('a large table that is to be read by and by costs two small reads', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 6000 }, (_, i) => putRow(`key ${i}`, i, 'x'.repeat(60)));
    const meta = await tableOf(fs, rows);
    const ops: string[] = [];
    fs.faults = ({ kind, length }) => {
      ops.push(kind === 'read' ? `read ${length}` : kind);
      return undefined;
    };
    const table = await KeyTable.open(fs, meta, { dbUuid, cache: noCache(), isLazy: true });
    expect(ops).toEqual(['open', 'size', 'read 4096', 'read 64']);
    expect([table.filterBytes, table.index.bytes]).toEqual([0, 0]);
    table.release();
  });

  test('a damaged filter costs only the filter', async () => {
    const fs = new MemoryFileSystem();
    const rows = Array.from({ length: 300 }, (_, i) => putRow(`k${i}`, i + 1));
    const meta = await tableOf(fs, rows);
    const path = filePath('tab', meta.no);
    const whole = await KeyTable.open(fs, meta, { dbUuid, cache: noCache() });
    const { filterBytes } = whole;
    expect(filterBytes).toBeGreaterThan(0);
    const last = whole.index.blocks - 1;
    const readAt = whole.index.offsetOf(last) + whole.index.lengthOf(last);
    whole.release();
    let hits = 0;
    for (let byte = 0; byte < meta.size; byte += 16) {
      const disk = fs.fork();
      disk.flipBit(path, byte * 8);
      const opened = await KeyTable.open(disk, meta, { dbUuid, cache: noCache() }).catch(() => undefined);
      if (opened === undefined) continue;
      if (opened.problems.length > 0) {
        hits++;
        expect(opened.problems).toMatchObject([{ code: 'VARVE_CORRUPT', file: path }]);
        expect(opened.problems[0]!.offset).toBeGreaterThan(0);
        expect(opened.filterBytes).toBe(0);
        expect(opened.mayContain(1)).toBe(true);
      }
      opened.release();
    }
    expect(hits).toBeGreaterThanOrEqual(Math.floor(filterBytes / 16));
    const unreadable = fs.fork();
    const failing =
      (errno: string) =>
      ({ kind, pos = 0, length = 0 }: FsOp) =>
        kind === 'read' && pos < readAt + 64 && readAt + 32 < pos + length ? { errno } : undefined;
    unreadable.faults = failing('EIO');
    const table = await KeyTable.open(unreadable, meta, { dbUuid, cache: noCache() });
    expect(table.problems).toMatchObject([{ code: 'VARVE_IO', file: path }]);
    table.release();
    unreadable.faults = failing('ENOMEM');
    expect(
      await rejection(() => KeyTable.open(unreadable, meta, { dbUuid, cache: noCache() })),
    ).toMatchObject({
      code: 'VARVE_IO',
      errno: 'ENOMEM',
    });
  });
});
