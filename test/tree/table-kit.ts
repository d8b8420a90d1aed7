/** Small tables for tests. */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import type { VarveError } from '../../src/base/errors.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { encodeInternalKey, encodeRowPrefix } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { FrozenChunks } from '../../src/tree/chunk-cursor.ts';
import { ChunkMemtable } from '../../src/tree/chunk-memtable.ts';
import { writeChunkTable } from '../../src/tree/chunk-table-writer.ts';
import { END, type KeyCursor, MISS, OK, type Step } from '../../src/tree/cursor.ts';
import { KeyMemtable } from '../../src/tree/key-memtable.ts';
import { writeKeyTable } from '../../src/tree/table-writer.ts';

export const dbUuid: Uint8Array = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
export const salt: Uint8Array = Uint8Array.from({ length: 12 }, (_, i) => 0xa0 + i);

export interface Row {
  key: string;
  seq: number;
  value: Uint8Array;
}

export const prefixOf = (key: string): Uint8Array => encodeRowPrefix(0, encodeUtf8(key));
export const keyOf = (row: { key: string; seq: number }): Uint8Array =>
  encodeInternalKey(prefixOf(row.key), row.seq);

/** A row value of the given kind with some text behind it. */
export function rowValue(text: string, kind: number = rowKinds.put): Uint8Array {
  return Uint8Array.of(kind, ...encodeUtf8(text));
}

export function putRow(key: string, seq: number, text = `${key}@${seq}`): Row {
  return { key, seq, value: rowValue(text) };
}

export function memtableOf(rows: readonly Row[]): KeyMemtable {
  const memtable = new KeyMemtable({ bytesMax: 2 ** 20 });
  for (const row of rows) {
    const key = keyOf(row);
    memtable.insert(key, 0, key.length, row.value, 0, row.value.length);
  }
  return memtable;
}

export async function tableOf(
  fs: MemoryFileSystem,
  rows: readonly Row[],
  no = 7,
  tree: number = trees.K,
): Promise<CatalogTable> {
  const cursor = memtableOf(rows).cursor();
  return await writeKeyTable(fs, { no, tree, level: 0, dbUuid, salt, rows: cursor });
}

/** 32 bytes whose first 4 are `n`, big-endian, the rest made from it. */
export function chunkId(n: number, prefix: number = n): Uint8Array {
  const id = Uint8Array.from({ length: 32 }, (_, i) => Math.imul(n + 1, 0x9e3779b1 + i * 0x1000193) >>> 13);
  new DataView(id.buffer).setUint32(0, prefix);
  return id;
}

export async function chunkTableOf(
  fs: MemoryFileSystem,
  memtable: ChunkMemtable,
  no = 9,
): Promise<CatalogTable> {
  memtable.freeze();
  const { minSeq, maxSeq, entries } = memtable;
  const input = { entries: new FrozenChunks(memtable), entriesMax: entries, minSeq, maxSeq };
  return await writeChunkTable(fs, { no, level: 0, dbUuid, salt, ...input });
}

export function chunkMemtableOf(count: number): ChunkMemtable {
  const memtable = new ChunkMemtable({ bytesMax: 2 ** 20 });
  for (let i = 0; i < count; i++) {
    const id = chunkId(i, Math.imul(i, 0x9e3779b1) >>> 0);
    memtable.setLocation(id, 0, i + 1, i * 3, 100 + i, 200 + i, 0, 0);
    memtable.addRefs(id, 0, i % 5);
    memtable.note(i + 1);
  }
  return memtable;
}

export const noCache = (): BlockCache => new BlockCache(0);

/** Runs a move to its end, loading what it misses; every other load on the calling thread. */
export async function settle(cursor: KeyCursor, move: () => Step): Promise<boolean> {
  for (let tries = 0; tries < 1000; tries++) {
    const step = move();
    if (step === OK) return true;
    if (step === END) return false;
    if (step !== MISS) throw new Error('not a step');
    if (tries % 2 === 0) await cursor.load();
    else cursor.loadSync();
  }
  throw new Error('a move does not end');
}

export const currentKey = (cursor: KeyCursor): Uint8Array =>
  cursor.keyBytes.slice(cursor.keyFrom, cursor.keyTo);
export const currentValue = (cursor: KeyCursor): Uint8Array =>
  cursor.valueBytes.slice(cursor.valueFrom, cursor.valueTo);

/** The error a promise rejects with, or undefined. */
export async function rejection(task: () => Promise<unknown>): Promise<VarveError | undefined> {
  try {
    await task();
    return undefined;
  } catch (error) {
    return error as VarveError;
  }
}
