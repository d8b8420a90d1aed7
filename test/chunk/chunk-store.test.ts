import { describe, expect, test } from 'vitest';
import { viewOf } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { chunkBlockBytes } from '../../src/format/chunk-table.ts';
import { segmentFooter } from '../../src/format/segment.ts';
import { tableFooter } from '../../src/format/table.ts';
import { trees } from '../../src/format/trees.ts';
import { bytesOf, codeOf, filesIn, newStore, openOn, same } from '../engine/engine-kit.ts';
import { putValue, stateOf, writeParts } from '../txn/write-kit.ts';

describe('each chunk once', () => {
  test('puts racing on the same new chunks share their frames', async () => {
    for (const length of [1500, 20_000, 300_000]) {
      const { engine } = await newStore();
      const value = bytesOf(length, length);
      const puts = await Promise.all(Array.from({ length: 8 }, (_, i) => engine.put(`k${i}`, value)));
      const once = await newStore();
      const alone = await once.engine.put('k', value);
      expect(puts.reduce((sum, { newChunks }) => sum + newChunks, 0)).toBe(alone.newChunks);
      expect(engine.stats().chunks.stored).toBe(alone.newChunks);
      for (let i = 0; i < 8; i++) expect(same(await engine.get(`k${i}`), value)).toBe(true);
    }
  });

  test('a put that fails leaves shared frames to the others', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 200_000);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield value.subarray(0, 150_000);
      throw new Error('source');
    }
    const [, put] = await Promise.allSettled([engine.put('a', failing()), engine.put('b', value)]);
    expect(put.status).toBe('fulfilled');
    await engine.put('c', value);
    await engine.flush();
    expect(same(await engine.get('c'), value)).toBe(true);
  });

  test('the same large value under a second key adds a record and nothing else', async () => {
    const { engine } = await newStore();
    const value = bytesOf(1, 1_000_000);
    await engine.put('a', value);
    for (const flushed of [false, true]) {
      if (flushed) await engine.flush();
      const before = engine.stats();
      expect(await engine.put(`copy ${flushed}`, value)).toMatchObject({ newChunks: 0, newBytes: 0 });
      const after = engine.stats();
      expect(after.chunks.stored).toBe(before.chunks.stored);
      expect(after.commits.logBytes - before.commits.logBytes).toBeLessThan(400);
    }
  });

  test('inserting a few bytes into a huge value adds a handful of chunks', async () => {
    const { engine } = await newStore({}, 1024 * 1024);
    const value = bytesOf(1, 2_000_000);
    const { chunks } = await engine.put('k', value);
    expect(chunks).toBeGreaterThan(1000);
    for (const at of [0, 1_000_000, 2_000_000]) {
      const changed = Buffer.concat([value.subarray(0, at), bytesOf(at, 10), value.subarray(at)]);
      const put = await engine.put('k', changed);
      expect(put.newChunks).toBeLessThan(12);
      expect(same(await engine.get('k'), changed)).toBe(true);
    }
  });
});

describe('damage in what a lookup reads', () => {
  const value = bytesOf(1, 200_000);

  async function closedStore() {
    const { engine, disk } = await newStore();
    await engine.put('k', value);
    await engine.close();
    return disk;
  }

  test('of a chunk table: chunks are stored anew, the put succeeds and health says so', async () => {
    const disk = await closedStore();
    for (const file of filesIn(disk, 'tab')) {
      const copy = disk.fork();
      const size = copy.bytesOf(file).length;
      // The first block of entries; filter, index and footer at the end stay whole.
      copy.corrupt(file, (bytes) => {
        bytes.fill(0x55, 4200, Math.min(8000, size - 4200));
        return bytes;
      });
      const again = await openOn(copy);
      if (again.health().readOnly) {
        await again.close();
        continue;
      }
      const put = await again.put('other', value);
      expect(same(await again.get('other'), value)).toBe(true);
      if (put.newChunks > 0) expect(again.health().damage[0]).toMatchObject({ file, kind: 'VARVE_CORRUPT' });
      await again.close();
      const third = await openOn(copy);
      expect(same(await third.get('other'), value)).toBe(true);
      await third.close();
    }
  });

  test('of any block of a chunk table: once it was met, bytes put again can be read', async () => {
    const { engine, disk } = await newStore();
    const large = bytesOf(2, 700_000);
    await engine.put('k', large);
    await engine.close();
    const file = filesIn(disk, 'tab').find((name) => disk.bytesOf(name)[11] === trees.C)!;
    const footerFrom = disk.bytesOf(file).length - tableFooter.size;
    const blocks = viewOf(disk.bytesOf(file)).getUint32(footerFrom + tableFooter.at.dataBlocks, true);
    expect(blocks).toBeGreaterThan(5);
    let met = 0;
    for (let block = 1; block <= blocks; block++) {
      const copy = disk.fork();
      copy.flipBit(file, (block * chunkBlockBytes + 2000) * 8);
      const again = await openOn(copy);
      if ((await codeOf(again.get('k'))) !== 'VARVE_CORRUPT') continue;
      met++;
      await again.put('other', large);
      expect(same(await again.get('other'), large)).toBe(true);
      await again.close();
      const third = await openOn(copy);
      expect(same(await third.get('k'), large)).toBe(true);
      await third.close();
    }
    expect(met).toBeGreaterThan(5);
  });

  test('of a trailer: the chunks are found all the same', async () => {
    const disk = await closedStore();
    for (const file of filesIn(disk, 'seg')) {
      disk.corrupt(file, (bytes) => {
        bytes[bytes.length - segmentFooter.size - 20]! ^= 1;
        return bytes;
      });
    }
    const again = await openOn(disk);
    const put = await again.put('other', value);
    expect(put.newChunks).toBe(0);
    expect(again.health().damage.every(({ file }) => file.startsWith('seg/'))).toBe(true);
    expect(same(await again.get('other'), value)).toBe(true);
    await again.close();
  });

  test('of a frame: once read, a put of the same bytes stores them anew and heals the key', async () => {
    const disk = await closedStore();
    const file = filesIn(disk, 'seg')[0]!;
    disk.flipBit(file, (64 + 100) * 8);
    const again = await openOn(disk);
    expect(await codeOf(again.get('k'))).toBe('VARVE_CORRUPT');
    const put = await again.put('k', value);
    expect(put.newChunks).toBeGreaterThan(0);
    expect(same(await again.get('k'), value)).toBe(true);
    await again.close();
    const third = await openOn(disk);
    expect(same(await third.get('k'), value)).toBe(true);
    await third.close();
  });
});

describe('lanes', () => {
  test('many values at once roll over many segments, and every one comes back', async () => {
    const { engine, disk } = await newStore({}, 4096);
    const prng = new Prng(1);
    const values = Array.from({ length: 24 }, (_, i) => bytesOf(i, 100 + prng.below(40_000)));
    await Promise.all(values.map((value, i) => engine.put(`k${i}`, value)));
    const { segments } = engine.stats();
    expect(filesIn(disk, 'seg')).toHaveLength(segments.sealed + segments.open);
    for (const [i, value] of values.entries()) expect(same(await engine.get(`k${i}`), value)).toBe(true);
    await engine.close();
    const again = await openOn(disk, {}, 4096);
    for (const [i, value] of values.entries()) expect(same(again.getSync(`k${i}`), value)).toBe(true);
    expect(again.stats().segments).toMatchObject({ open: 0 });
    await again.close();
  });

  test('a writer with room is taken in the same turn: nothing is appended to a sealing segment', async () => {
    const parts = await writeParts(2048);
    const values = Array.from({ length: 24 }, (_, i) => bytesOf(i, 50_000));
    await Promise.all(values.map((value, i) => putValue(parts, `k${i}`, value, 1 + i * 500)));
    expect(parts.failures).toEqual([]);
    await parts.lanes.sealAll();
    expect(parts.lanes.openBytes()).toEqual({ count: 0, bytes: 0, dataBytes: 0 });
    const numbers = parts.lanes.sealed().map(({ no }) => no);
    expect(new Set(numbers).size).toBe(numbers.length);
    const frames = parts.lanes.sealed().reduce((sum, one) => sum + one.frames, 0);
    expect(frames).toBe((await stateOf(parts.forest)).chunks.length);
  });

  test.each(['write', 'dataSync', 'sync'] as const)(
    'a failed %s of a segment stops all writes once',
    async (kind) => {
      const { engine, disk } = await newStore({}, 8192);
      await engine.put('before', bytesOf(1, 3000));
      disk.faults = (op) => (op.kind === kind && op.path.startsWith('seg/') ? { errno: 'EIO' } : undefined);
      const failed = await Promise.allSettled(
        Array.from({ length: 6 }, (_, i) => engine.put(`k${i}`, bytesOf(i + 2, 40_000))),
      );
      expect(failed.some(({ status }) => status === 'rejected')).toBe(true);
      disk.faults = undefined;
      expect(['VARVE_POISONED', 'VARVE_COMMIT_UNKNOWN']).toContain(
        await codeOf(engine.put('later', bytesOf(99, 3000))),
      );
      expect(engine.health()).toMatchObject({ ok: false, status: 'degraded', readOnly: true });
      expect(same(await engine.get('before'), bytesOf(1, 3000))).toBe(true);
      expect(await codeOf(engine.close())).toBe('VARVE_POISONED');
      const again = await openOn(disk, {}, 8192);
      expect(same(await again.get('before'), bytesOf(1, 3000))).toBe(true);
      await again.put('k', bytesOf(3, 3000));
      await again.close();
    },
  );
});
