import { expect, test } from 'vitest';
import {
  bytesOf,
  codeOf,
  contents,
  filesIn,
  killed,
  newStore,
  openOn,
  same,
  text,
  turn,
} from './engine-kit.ts';

test('a checkpoint holds exactly what was sequenced before it, and the log the rest', async () => {
  const { engine, disk } = await newStore();
  await engine.put('a', bytesOf(1, 5000));
  const flush = engine.flush();
  const put = engine.put('b', bytesOf(2, 5000));
  await Promise.all([flush, put]);
  const stats = engine.stats();
  expect(stats.checkpointSeq).toBeLessThan((await engine.stat('b'))!.seq);
  expect(stats.tables).toMatchObject({ keys: 1, chunks: 1 });
  const again = await openOn(killed(disk));
  expect(await contents(again)).toEqual(await contents(engine));
  await again.close();
});

test('old logs and catalogs go after one more install', async () => {
  const { engine, disk } = await newStore({ changesRetention: { bytes: 0 } });
  for (let i = 0; i < 5; i++) {
    await engine.put('k', `${i}`);
    await engine.flush();
  }
  expect(filesIn(disk, 'wal').length).toBeLessThanOrEqual(2);
  expect(filesIn(disk, 'cat').length).toBeLessThanOrEqual(2);
});

test('requests during a checkpoint share the next one', async () => {
  const { engine, disk } = await newStore();
  await engine.put('k', 'v');
  await turn();
  const from = disk.opCount;
  await Promise.all(Array.from({ length: 10 }, () => engine.flush()));
  const catalogs = disk.trace
    .slice(from)
    .filter(({ kind, path }) => kind === 'create' && path.startsWith('cat/'));
  expect(catalogs).toHaveLength(2);
});

test('tables that could not be written are written anew, and after three failures writes stop', async () => {
  for (const failures of [2, 3]) {
    const { engine, disk } = await newStore();
    const value = bytesOf(1, 5000);
    await engine.put('k', value);
    let left = failures;
    disk.faults = (op) => {
      if (op.kind !== 'sync' || !op.path.startsWith('tab/') || left === 0) return undefined;
      left--;
      return { errno: 'EIO' };
    };
    if (failures === 2) {
      await engine.flush();
      expect(engine.health().ok).toBe(true);
    } else {
      expect(await codeOf(engine.flush())).toBe('VARVE_IO');
      expect(await codeOf(engine.put('later', 'x'))).toBe('VARVE_POISONED');
      expect(engine.health().status).toBe('degraded');
    }
    expect(same(await engine.get('k'), value)).toBe(true);
    const again = await openOn(killed(disk));
    expect(same(await again.get('k'), value)).toBe(true);
    await again.close();
  }
});

test('a failed catalog stops writes, and what was acknowledged is in the log', async () => {
  const { engine, disk } = await newStore();
  await engine.put('a', '1');
  disk.faults = (op) => (op.path.startsWith('cat/') && op.kind === 'sync' ? { errno: 'EIO' } : undefined);
  await codeOf(engine.flush());
  expect(await codeOf(engine.put('b', '2'))).toBe('VARVE_POISONED');
  disk.faults = undefined;
  const again = await openOn(killed(disk));
  expect(text(await again.get('a'))).toBe('1');
  await again.close();
});

test('memtables that are full start a checkpoint by themselves', async () => {
  const { engine } = await newStore({ inlineMax: 1000 });
  for (let i = 0; i < 200; i++) await engine.put(`k${i}`, bytesOf(i, 1000));
  for (let i = 0; i < 50; i++) await turn();
  expect(engine.stats().checkpointSeq).toBeGreaterThan(0);
  expect(engine.stats().tables.keys).toBeGreaterThan(0);
  for (let i = 0; i < 200; i++) expect(same(engine.getSync(`k${i}`), bytesOf(i, 1000))).toBe(true);
});
