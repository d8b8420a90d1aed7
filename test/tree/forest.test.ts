import { describe, expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { filePath } from '../../src/format/file-names.ts';
import { trees } from '../../src/format/trees.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { ChunkHit } from '../../src/tree/chunk-table-reader.ts';
import { OK } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { chunkId, dbUuid, keyOf, prefixOf, putRow, rejection, rowValue } from './table-kit.ts';

const prng = new Prng(5);
const random = (n: number): Uint8Array => prng.bytes(n);
const keyTrees = [trees.K, trees.X, trees.S];

function fill(forest: Forest, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const row = putRow(`k${i}`, i + 1);
    const key = keyOf(row);
    for (const tree of keyTrees) forest.tree(tree).insert(key, 0, key.length, row.value, 0, row.value.length);
    forest.chunks.setLocation(chunkId(i), 0, i + 1, 0, 0, 0, 0, 0);
    forest.chunks.addRefs(chunkId(i), 0, 1);
    forest.chunks.note(i + 1);
  }
}

/** Every row up to `to` is found in every tree. */
function check(forest: Forest, to: number): void {
  const out = new RowRef();
  const row = new ChunkHit();
  for (let i = 0; i < to; i++) {
    const prefix = prefixOf(`k${i}`);
    for (const tree of keyTrees) {
      expect(forest.tree(tree).findSync(prefix, 0, prefix.length, 1e9, out)).toBe(OK);
      expect(out.bytes.slice(out.valueFrom, out.valueTo)).toEqual(rowValue(`k${i}@${i + 1}`));
    }
    expect(forest.chunks.findSync(chunkId(i), 0, row)).toBe(OK);
    expect(row.segment).toBe(i + 1);
  }
}

const open = (fs: MemoryFileSystem, tables: CatalogTable[] = []) =>
  Forest.open(fs, tables, { dbUuid, cache: new BlockCache(2 ** 20), memtableBytes: 2 ** 18 });

function numbers(first = 1): () => number {
  let no = first;
  return () => no++;
}

describe('forest', () => {
  test('lookups find every row at each step of a flush, and after a reopen', async () => {
    const fs = new MemoryFileSystem();
    const { forest } = await open(fs);
    const take = numbers();
    const tables: CatalogTable[] = [];
    fill(forest, 0, 50);
    const first = forest.freeze();
    check(forest, 50);
    fill(forest, 50, 100);
    const second = forest.freeze();
    fill(forest, 100, 120);
    for (const frozen of [first, second]) {
      const metas = await forest.flush(frozen, take, random);
      check(forest, 120);
      expect(metas.map((meta) => meta.tree)).toEqual([trees.K, trees.C, trees.X, trees.S]);
      await forest.install(frozen, metas);
      check(forest, 120);
      tables.push(...metas);
    }
    expect(forest.stats()).toMatchObject({ tables: { K: 2, C: 2, X: 2, S: 2 }, entries: 400 });
    expect(forest.stats().bytes).toBe(tables.reduce((sum, table) => sum + table.size, 0));
    await forest.close();
    const again = await open(fs.crash('none'), tables);
    expect(again.damage).toEqual([]);
    check(again.forest, 100);
    expect(await again.forest.chunks.totalRefs(chunkId(99))).toBe(1);
    await again.forest.close();
  });

  test('a freeze parts all trees at one point and skips empty ones', async () => {
    const fs = new MemoryFileSystem();
    const { forest } = await open(fs);
    const row = putRow('a', 1);
    const key = keyOf(row);
    forest.system.insert(key, 0, key.length, row.value, 0, row.value.length);
    const frozen = forest.freeze();
    expect(frozen.keys).toBe(undefined);
    const metas = await forest.flush(frozen, numbers(), random);
    expect(metas.map((meta) => meta.tree)).toEqual([trees.S]);
    await forest.install(frozen, metas);
    expect(forest.freeze()).toEqual({
      keys: undefined,
      chunks: undefined,
      indexes: undefined,
      system: undefined,
    });
    await forest.close();
  });

  test('it is full when its memtables together reach the budget', async () => {
    const { forest } = await open(new MemoryFileSystem());
    expect(forest.full).toBe(false);
    let n = 0;
    for (; !forest.full; n += 100) fill(forest, n, n + 100);
    expect(forest.bytesUsed).toBeGreaterThanOrEqual(2 ** 18);
    forest.freeze();
    expect(forest.full).toBe(false);
    expect(forest.stats().memtableBytes).toBeGreaterThanOrEqual(2 ** 18);
    await forest.close();
  });

  test('a failed flush keeps every row and can be repeated', async () => {
    const plain = new MemoryFileSystem();
    const { forest: measured } = await open(plain);
    fill(measured, 0, 6);
    await measured.flush(measured.freeze(), numbers(), random);
    for (let failAt = 0; failAt < plain.opCount; failAt++) {
      const fs = new MemoryFileSystem();
      const { forest } = await open(fs);
      fill(forest, 0, 6);
      const frozen = forest.freeze();
      fs.failAt(failAt, { errno: 'EIO' });
      const take = numbers();
      expect((await rejection(() => forest.flush(frozen, take, random)))?.code).toBe('VARVE_IO');
      for (let no = 1; no < 6; no++) expect(await fs.stat(filePath('tab', no))).toBe(null);
      check(forest, 6);
      await forest.install(frozen, await forest.flush(frozen, take, random));
      check(forest, 6);
      await forest.close();
    }
  });

  test('a damaged table is left out and reported', async () => {
    const fs = new MemoryFileSystem();
    const { forest } = await open(fs);
    fill(forest, 0, 30);
    const frozen = forest.freeze();
    const metas = await forest.flush(frozen, numbers(), random);
    const spoiled = fs.fork();
    spoiled.corrupt(filePath('tab', metas[0]!.no), (bytes) => bytes.fill(0, bytes.length - 8));
    await spoiled.unlink(filePath('tab', metas[2]!.no));
    const { forest: degraded, damage } = await open(spoiled, metas);
    expect(damage.map((error) => error.code)).toEqual(['VARVE_CORRUPT', 'VARVE_IO']);
    expect(damage[0]!.file).toBe(filePath('tab', metas[0]!.no));
    expect(degraded.stats().tables).toEqual({ K: 0, C: 1, X: 0, S: 1 });
    await degraded.close();
    const other = await open(spoiled, [{ ...metas[1]!, tree: 9 }]);
    expect(other.damage[0]!.code).toBe('VARVE_CORRUPT');
    await other.forest.close();
    await forest.close();
  });

  test('an install that fails changes nothing', async () => {
    const fs = new MemoryFileSystem();
    const { forest } = await open(fs);
    fill(forest, 0, 30);
    const frozen = forest.freeze();
    const metas = await forest.flush(frozen, numbers(), random);
    fs.corrupt(filePath('tab', metas[3]!.no), (bytes) => bytes.fill(0, 70, 90));
    const readable = await rejection(() => forest.install(frozen, metas));
    // Damage in a data block shows when the block is read; that of the footer at once.
    expect(readable).toBe(undefined);
    const out = new RowRef();
    const prefix = prefixOf('k1');
    expect(() => forest.system.findSync(prefix, 0, prefix.length, 1e9, out)).toThrow(/checksum/);
    fill(forest, 30, 40);
    const second = forest.freeze();
    const more = await forest.flush(second, numbers(9), random);
    fs.corrupt(filePath('tab', more[1]!.no), (bytes) => bytes.fill(0, bytes.length - 40));
    expect(isVarveError(await rejection(() => forest.install(second, more)), 'VARVE_CORRUPT')).toBe(true);
    expect(forest.stats().tables).toEqual({ K: 1, C: 1, X: 1, S: 1 });
    expect(forest.keys.frozen.length).toBe(1);
    await forest.close();
  });
});
