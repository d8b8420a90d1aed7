/**
 * An audit of a store's files with no engine in between: which rows there are, whether every reference count
 * is what a recount gives, whether every chunk can be read and is what its id says, and whether a file lies
 * about that nothing names.
 */
import { toHex } from '../../src/base/bytes.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { LoadedCatalogs } from '../../src/catalog/catalog-load.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { firstLogNo } from '../../src/format/catalog.ts';
import { chunkIdBytes, chunkKinds } from '../../src/format/chunk-ref.ts';
import { chunkEntryFlags } from '../../src/format/chunk-table.ts';
import { filePath, lockName, reserveName, superName } from '../../src/format/file-names.ts';
import { decodeInternalKey } from '../../src/format/internal-key.ts';
import { parseListNode } from '../../src/format/list-node.ts';
import { rowKindAt, rowKinds } from '../../src/format/row-kinds.ts';
import { parseValueRecord, visitRecordRefs } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsPort } from '../../src/fs/port.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { MISS, OK } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import type { Row } from './row.ts';
import { readSystem, type SystemRows, trashProblems } from './system-rows.ts';

export interface Audit {
  /** Every row of the key tree's tables, by sequence number, then key. */
  readonly rows: readonly Row[];
  /** What the system tree has. */
  readonly system: SystemRows;
  /** What is wrong, in words; empty for a sound store. */
  readonly problems: readonly string[];
}

/**
 * Audits what the newest catalog on `disk` names: everything, for a store just opened or closed. `given` is
 * what CatalogStore.load says of this disk, where the caller has it.
 */
export async function auditDisk(disk: FsPort, given?: LoadedCatalogs): Promise<Audit> {
  const loaded = given ?? (await CatalogStore.load(disk));
  const { catalog, slot } = loaded;
  const { dbUuid } = slot;
  const problems = loaded.problems.map(({ message }) => message);
  const options = { dbUuid, cache: new BlockCache(1024 * 1024), memtableBytes: 64 * 1024 };
  const { forest, damage } = await Forest.open(disk, catalog.tables, options);
  const segments = new SegmentSet(disk, {
    dbUuid,
    onDamage: (error) => problems.push(`segment: ${String(error)}`),
  });
  for (const info of catalog.sealed) segments.add(info.no, info);
  for (const { no } of catalog.unsealed) segments.add(no);
  try {
    problems.push(...damage.map(({ message }) => message));
    const counted = new Map<string, number>();
    const rows = await readRows(forest, counted);
    await checkChunks(forest, segments, counted, problems);
    const system = await readSystem(forest);
    problems.push(...trashProblems(rows, system));
    return { rows, system, problems };
  } finally {
    await segments.close();
    await forest.close();
  }
}

/** All rows; adds each record's references to `counted`. */
async function readRows(forest: Forest, counted: Map<string, number>): Promise<Row[]> {
  const rows: Row[] = [];
  const view = forest.keys.view();
  const cursor = view.cursor();
  let step = cursor.first();
  let started = false;
  /** The GONE row just met: its key, and the commit that purged. */
  let gone = { key: '', seq: 0 };
  for (;;) {
    if (step === MISS) await cursor.load();
    else if (step !== OK) break;
    else {
      started = true;
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      const { space, userKey, seq } = decodeInternalKey(keyBytes, keyFrom, keyTo);
      const kind = rowKindAt(valueBytes, valueFrom);
      const whole = toHex(keyBytes.subarray(keyFrom, keyTo));
      const isPut = kind === rowKinds.put;
      const isLate = kind === rowKinds.lateDelete;
      const record = toHex(valueBytes.subarray(valueFrom, valueTo));
      if (kind === rowKinds.gone) {
        const { goneSeq } = parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' });
        gone = { key: whole, seq: goneSeq };
      } else {
        const isGone = whole === gone.key;
        const row = { seq, space, key: toHex(userKey), isPut, isLate, record };
        rows.push(isGone ? { ...row, goneSeq: gone.seq } : row);
        if (!isGone) visitRecordRefs(valueBytes, valueFrom, valueTo, (at) => count(counted, valueBytes, at));
      }
    }
    step = started ? cursor.next() : cursor.first();
  }
  view.release();
  return rows.sort((a, b) => a.seq - b.seq || (a.key < b.key ? -1 : 1));
}

/** Every chunk in the index is where it says, and its count is that of records and list nodes together. */
async function checkChunks(
  forest: Forest,
  segments: SegmentSet,
  counted: Map<string, number>,
  problems: string[],
): Promise<void> {
  const stored = new Map<string, number>();
  await forest.chunks.scanAll(async ({ idBytes, idAt, columns }) => {
    const id = idBytes.slice(idAt, idAt + chunkIdBytes);
    const { refs, flags, kind, segment, off8, storedLen, rawLen } = columns;
    const name = toHex(id);
    stored.set(name, refs);
    if ((flags & chunkEntryFlags.hasLocation) === 0) {
      // Dropped, or its place went in a merge of older tables, with its frame.
      if (refs !== 0) problems.push(`chunk ${name} has ${refs} references and no location`);
      return;
    }
    // Nothing refers to it, and cleaning has taken the segment away.
    if (refs === 0 && kind === chunkKinds.data && !segments.has(segment)) return;
    const bytes = await segments.readFrame(segment, off8, storedLen, id);
    if (bytes === undefined) problems.push(`chunk ${name} is not at ${filePath('seg', segment)} ${off8 * 8}`);
    else if (toHex(sha256(bytes)) !== name) problems.push(`chunk ${name} holds other bytes`);
    else if (bytes.length !== rawLen) problems.push(`chunk ${name} has another length`);
    else if (kind === chunkKinds.list) {
      const node = parseListNode(bytes, { file: name });
      for (let i = 0; i < node.count; i++) count(counted, bytes, node.childIdAt(i));
    }
  });
  for (const [name, refs] of stored) {
    const recount = counted.get(name) ?? 0;
    if (refs !== recount)
      problems.push(`chunk ${name} counts ${refs} references, a recount gives ${recount}`);
  }
  for (const name of counted.keys()) {
    if (!stored.has(name)) problems.push(`chunk ${name} is referenced and not in the index`);
  }
}

function count(counted: Map<string, number>, bytes: Uint8Array, at: number): void {
  const name = toHex(bytes.subarray(at, at + chunkIdBytes));
  counted.set(name, (counted.get(name) ?? 0) + 1);
}

/** Files that a store whose newest catalogs are these has no use for. */
export async function strayFiles(disk: MemoryFileSystem, given?: LoadedCatalogs): Promise<string[]> {
  const { catalog, previous } = given ?? (await CatalogStore.load(disk));
  const kept = new Set<string>([superName, lockName, reserveName]);
  let walFrom = firstLogNo(catalog);
  for (const each of [catalog, previous?.catalog]) {
    if (each === undefined) continue;
    walFrom = Math.min(walFrom, firstLogNo(each));
    kept.add(filePath('cat', each.no));
    for (const { no } of each.tables) kept.add(filePath('tab', no));
    for (const { no } of [...each.sealed, ...each.unsealed]) kept.add(filePath('seg', no));
    // What an install drops goes with the next one.
    for (const { kind, no } of each.dropped) kept.add(filePath(kind, no));
  }
  const isLiveLog = (path: string): boolean => path.startsWith('wal/') && path >= filePath('wal', walFrom);
  return disk.files().filter((path) => !kept.has(path) && !isLiveLog(path));
}
