/**
 * Whether the chunks of a closed store are what its rows say: counts by a recount of versions that are not
 * gone and of list nodes, and a frame for everything that is referenced.
 */
import { toHex } from '../../src/base/bytes.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { chunkIdBytes, chunkKinds } from '../../src/format/chunk-ref.ts';
import { chunkEntryFlags } from '../../src/format/chunk-table.ts';
import { parseListNode } from '../../src/format/list-node.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { visitRecordRefs } from '../../src/format/value-record.ts';
import type { FsPort } from '../../src/fs/port.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { OK, settle } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';

/** What is wrong, in words; empty for a sound store. */
export async function chunkProblems(disk: FsPort): Promise<string[]> {
  const { catalog, slot } = await CatalogStore.load(disk);
  const { dbUuid } = slot;
  const problems: string[] = [];
  const options = { dbUuid, cache: new BlockCache(1024 * 1024), memtableBytes: 64 * 1024 };
  const { forest, damage } = await Forest.open(disk, catalog.tables, options);
  problems.push(...damage.map(({ message }) => message));
  const segments = new SegmentSet(disk, { dbUuid, onDamage: (error) => problems.push(String(error)) });
  for (const info of catalog.sealed) segments.add(info.no, info);
  for (const { no } of catalog.unsealed) segments.add(no);
  try {
    const counted = new Map<string, number>();
    await countRows(forest, counted);
    await checkEntries(forest, segments, counted, problems);
    return problems;
  } finally {
    await segments.close();
    await forest.close();
  }
}

async function countRows(forest: Forest, counted: Map<string, number>): Promise<void> {
  const view = forest.keys.view();
  const cursor = view.cursor();
  let gone = '';
  let step = await settle(cursor, () => cursor.first());
  for (; step === OK; step = await settle(cursor, () => cursor.next())) {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
    const key = toHex(keyBytes.subarray(keyFrom, keyTo));
    const kind = valueBytes[valueFrom]! & 15;
    if (kind === rowKinds.gone) gone = key;
    if (kind !== rowKinds.put || key === gone) continue;
    visitRecordRefs(valueBytes, valueFrom, valueTo, (at) => add(counted, valueBytes, at));
  }
  view.release();
}

async function checkEntries(
  forest: Forest,
  segments: SegmentSet,
  counted: Map<string, number>,
  problems: string[],
): Promise<void> {
  const stored = new Map<string, number>();
  await forest.chunks.scanAll(async ({ idBytes, idAt, columns }) => {
    const id = idBytes.slice(idAt, idAt + chunkIdBytes);
    const name = toHex(id);
    const { refs, flags, kind, segment, off8, storedLen } = columns;
    stored.set(name, refs);
    const isLive = refs !== 0 || kind !== chunkKinds.data;
    if ((flags & chunkEntryFlags.hasLocation) === 0) {
      if (refs !== 0) problems.push(`chunk ${name} has ${refs} references and no location`);
      return;
    }
    if (!isLive && !segments.has(segment)) return;
    const bytes = await segments.readFrame(segment, off8, storedLen, id);
    if (bytes === undefined) {
      if (isLive) problems.push(`chunk ${name} is not at segment ${segment}, ${off8 * 8}`);
      return;
    }
    if (toHex(sha256(bytes)) !== name) problems.push(`chunk ${name} holds other bytes`);
    if (kind !== chunkKinds.list) return;
    const node = parseListNode(bytes, { file: name });
    for (let i = 0; i < node.count; i++) add(counted, bytes, node.childIdAt(i));
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

function add(counted: Map<string, number>, bytes: Uint8Array, at: number): void {
  const name = toHex(bytes.subarray(at, at + chunkIdBytes));
  counted.set(name, (counted.get(name) ?? 0) + 1);
}
