import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { loadCatalogs } from '../../src/catalog/catalog-load.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import type { ChunkColumns } from '../../src/format/chunk-table.ts';
import { Findings } from '../../src/integrity/findings.ts';
import { recount } from '../../src/integrity/recount.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import type { ChunkCursor } from '../../src/tree/chunk-cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import { bytesOf, newStore } from '../engine/engine-kit.ts';

/**
 * What a recount finds when the index says something else of its n-th entry that `which` chooses. `letGo`:
 * no segment is there any more, and a newer catalog is, or is not.
 */
async function found(
  which: (columns: ChunkColumns) => boolean,
  change: (columns: ChunkColumns) => void,
  letGo?: { readonly isOutdated: boolean },
): Promise<string[]> {
  const { disk, engine } = await newStore();
  const value = bytesOf(3, 40_000);
  await engine.put('a', value);
  await engine.put('b', value);
  await engine.put('c', bytesOf(4, 3000));
  await engine.put('c', bytesOf(5, 3000));
  await engine.delete('b');
  await engine.close();
  const { catalog, slot } = await loadCatalogs(disk);
  const { dbUuid } = slot;
  const { forest } = await Forest.open(disk, catalog.tables, {
    dbUuid,
    cache: new BlockCache(0),
    memtableBytes: 1,
  });
  const segments = new SegmentSet(disk, { dbUuid, onDamage: () => undefined });
  for (const sealed of catalog.sealed) segments.add(sealed.no, sealed);
  const findings = new Findings(() => undefined);
  let changed = false;
  const chunks = {
    scanAll: (visit: (entry: ChunkCursor) => void | Promise<void>) => {
      changed = false;
      return forest.chunks.scanAll((entry) => {
        if (!changed && which(entry.columns)) {
          changed = true;
          change(entry.columns);
        }
        return visit(entry);
      });
    },
  };
  if (letGo !== undefined)
    for (const path of disk.files()) if (path.startsWith('seg/')) await disk.unlink(path);
  const entries = await recount({
    forest: { keys: forest.keys, chunks } as unknown as Forest,
    segments,
    findings,
    pause: () => undefined,
    isOutdated: async () => letGo?.isOutdated === true,
  });
  expect(entries).toBeGreaterThan(10);
  await segments.close();
  await forest.close();
  return findings.list.map(({ kind, message }) => `${kind}: ${message.replace(/[0-9a-f]{64}/, 'ID')}`);
}

const any = (): boolean => true;
const isList = ({ kind }: ChunkColumns): boolean => kind === chunkKinds.list;

describe('recount', () => {
  test('nothing is found in what a store has counted', async () => {
    expect(await found(any, () => undefined)).toEqual([]);
  });

  test('a count that is too high or too low is found, with its chunk', async () => {
    expect(await found(any, (columns) => columns.refs++)).toEqual([
      'references: chunk index: chunk ID: a recount gives 1 references fewer than the index has',
    ]);
    expect(
      await found(
        ({ refs }) => refs === 1,
        (columns) => (columns.refs = 0),
      ),
    ).toEqual(['references: chunk index: chunk ID: a recount gives 1 references more than the index has']);
  });

  test('a length that does not fit the values it is part of is found', async () => {
    expect(
      await found(
        ({ kind }) => kind === chunkKinds.data,
        (columns) => columns.rawLen++,
      ),
    ).toEqual(['value: chunk index: chunk ID has another length than the values it is part of say']);
  });

  test('a list node that is not there is found, and what it would have counted is no fault', async () => {
    const told = await found(isList, (columns) => columns.off8++);
    expect(told.length).toBeGreaterThan(0);
    expect(told.every((line) => line.startsWith('chunk: '))).toBe(true);
  });

  test('a segment that a writer has let go meanwhile is no damage, and ends the count', async () => {
    const nothing = (): void => undefined;
    await expect(found(any, nothing, { isOutdated: true })).rejects.toThrow('segment file is missing');
    const told = await found(any, nothing, { isOutdated: false });
    expect(told.every((line) => line.startsWith('missing: '))).toBe(true);
    expect(told.length).toBeGreaterThan(0);
  });
});
