import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from './audit.ts';
import { deletesMergedAway, deletesOfBrief, rowsProblem } from './kept-rows.ts';
import { openOn, type StoreShape } from './machine.ts';
import { type Row, valueName } from './row.ts';
import { versionOf } from './system-rows.ts';

const put = (seq: number, key: string): Row => ({
  seq,
  space: 0,
  key,
  isPut: true,
  isLate: false,
  record: `${seq}`,
});
const gone = (seq: number, key: string): Row => ({ ...put(seq, key), isPut: false });

test('deletes that an open writes of what has expired are told from rows nobody committed', () => {
  const committed = {
    rows: [put(1, 'aa'), put(2, 'bb'), put(3, 'cc'), put(4, 'cc')],
    ranges: [],
    spaceRows: [],
  };
  const brief = new Set([valueName(2, 'bb'), valueName(3, 'cc')]);
  const found = [...committed.rows, gone(6, 'aa'), gone(6, 'bb'), gone(6, 'cc'), put(7, 'bb')];
  const expired = deletesOfBrief(found, committed, 4, brief);
  expect(expired).toEqual([gone(6, 'bb')]);
  const rows = [...committed.rows, ...expired];
  // The version that had expired may have gone in a merge.
  const sound = rows.filter(({ seq }) => seq !== 2);
  expect(rowsProblem(sound, { ...committed, rows }, { merges: true })).toBeUndefined();
  expect(rowsProblem(sound, committed, { merges: true })).toBeDefined();
});

test('a version that expired may be gone with its delete, and may not be lost by itself', () => {
  const committed = { rows: [put(1, 'aa'), put(2, 'bb')], ranges: [], spaceRows: [] };
  const found = [put(1, 'aa')];
  const brief = new Set([valueName(2, 'bb')]);
  const merged = { checkpointSeq: 3, expiring: new Set<string>() };
  const problemOf = (tables = merged, versions = 0, rowsFound = found, all = committed) => {
    const rows = [...all.rows, ...deletesMergedAway(rowsFound, all, 2, brief, tables)];
    return rowsProblem(rowsFound, { ...all, rows }, { merges: true, historyVersions: versions });
  };
  expect(problemOf()).toBeUndefined();
  // Still queued: no commit has deleted it.
  expect(problemOf({ ...merged, expiring: new Set([versionOf(put(2, 'bb'))]) })).toBe('missing [2:bb]');
  expect(problemOf({ ...merged, checkpointSeq: 2 })).toBe('missing [2:bb]');
  // History would have kept it.
  expect(problemOf(merged, 1)).toBe('missing [2:bb]');
  // The delete must stay while something older of the key is left.
  const older = { ...committed, rows: [put(1, 'bb'), put(2, 'bb')] };
  expect(problemOf(merged, 0, [put(1, 'bb')], older)).toBe('missing [3:bb]');
  // What does not expire is missed.
  expect(problemOf(merged, 0, [])).toBe('missing [1:aa]');
});

test('an audit names the versions that wait for their time, until they are deleted', async () => {
  const disk = new MemoryFileSystem();
  const shape: StoreShape = { durability: 'full', algorithm: 'fastcdc', inlineMax: 64, segmentBytes: 8192 };
  const engine = await openOn(disk, shape, 1);
  const { seq } = await engine.put('k', 'x', { ttlMs: 1e9 });
  await engine.put('l', 'x');
  await engine.flush();
  const { rows, system } = await auditDisk(disk);
  const row = rows.find((one) => one.seq === seq)!;
  expect([row.key, Array.from(system.expiring)]).toEqual(['6b', [versionOf(row)]]);
  await engine.put('m', 'x', { ttlMs: 1 });
  while (engine.getSync('m') !== undefined || engine.stats().seq < seq + 3)
    await new Promise((resolve) => setImmediate(resolve));
  await engine.flush();
  expect((await auditDisk(disk)).system.expiring).toEqual(system.expiring);
});
