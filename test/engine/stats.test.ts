import { expect, test } from 'vitest';
import { bytesOf, codeOf, filesIn, newStore, openOn } from './engine-kit.ts';

test('stats are true: sequence numbers, files, commits, chunks', async () => {
  const { engine } = await newStore({}, 8192);
  const zero = engine.stats();
  const value = bytesOf(1, 60_000);
  const { seq, newChunks, newBytes } = await engine.put('k', value);
  await engine.put('copy', value);
  await engine.put('inline', 'abc');
  await Promise.all(Array.from({ length: 20 }, (_, i) => engine.put(`k${i}`, 'x')));
  await engine.delete('inline');
  const stats = engine.stats();
  expect(stats.seq).toBe(seq + 23);
  expect(stats.durableSeq).toBe(stats.seq);
  expect(stats.checkpointSeq).toBe(zero.checkpointSeq);
  expect(stats.commits.count - zero.commits.count).toBe(24);
  expect(stats.commits.syncs).toBeLessThan(24);
  expect(stats.commits.groups).toBeLessThanOrEqual(24);
  expect(stats.chunks).toMatchObject({ stored: newChunks, storedBytes: newBytes });
  expect(stats.ingestedBytes).toBe(120_000 + 3 + 20);
  expect([stats.workers, stats.durability]).toEqual([0, 'full']);
  expect(stats.memory.memtable.used).toBeGreaterThan(0);
});

test('sizes on disk are those of the files', async () => {
  const { engine, disk } = await newStore({}, 8192);
  for (let i = 0; i < 6; i++) await engine.put(`k${i}`, bytesOf(i, 10_000));
  await engine.flush();
  await engine.flush();
  await engine.close();
  const sum = (dir: string): number =>
    filesIn(disk, dir).reduce((total, file) => total + disk.bytesOf(file).length, 0);
  const reader = await openOn(disk, { readOnly: true });
  const { disk: sizes, segments, tables } = reader.stats();
  expect(sizes.segmentBytes).toBe(sum('seg'));
  expect(sizes.tableBytes).toBe(sum('tab'));
  expect(sizes.logBytes).toBeLessThanOrEqual(sum('wal'));
  expect(sizes.totalBytes).toBe(sizes.segmentBytes + sizes.tableBytes + sizes.logBytes);
  expect(segments).toMatchObject({ open: 0, sealed: filesIn(disk, 'seg').length });
  expect(tables.keys + tables.chunks + tables.indexes + tables.system).toBe(filesIn(disk, 'tab').length);
  await reader.close();
});

test('a reader beside a writer counts the open segments and the log', async () => {
  const { engine, disk } = await newStore({}, 1024 * 1024);
  await engine.put('k', bytesOf(1, 10_000));
  const reader = await openOn(disk, { readOnly: true });
  const stats = reader.stats();
  expect(stats.segments.open).toBe(filesIn(disk, 'seg').length);
  expect(stats.segments.dataBytes).toBe(engine.stats().segments.dataBytes);
  expect(stats.disk.logBytes).toBe(engine.stats().disk.logBytes);
  expect(stats.seq).toBe(engine.stats().seq);
  await reader.close();
});

test('health of a whole store says so', async () => {
  const { engine } = await newStore();
  await engine.put('k', 'v');
  expect(engine.health()).toEqual({
    ok: true,
    status: 'healthy',
    reasons: [],
    readOnly: false,
    damage: [],
    missing: [],
    backups: [],
  });
  await codeOf(engine.put('k', 'x', { ifSeq: 1_000_000 }));
  expect(engine.health().ok).toBe(true);
});
