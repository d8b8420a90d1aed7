/**
 * An audit of the store's files after each open of a run, with no engine in between: which rows there are,
 * whether every reference count is what a recount gives, and whether every chunk is what its id says.
 *
 * Files of tables and segments are never changed once a catalog names them. So what a file was found to hold is
 * kept, with a checksum of all of its bytes, and taken again while the file has these bytes.
 */
import { toHex } from '../../src/base/bytes.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { loadCatalogs } from '../../src/catalog/catalog-load.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { chunkIdBytes, chunkKinds } from '../../src/format/chunk-ref.ts';
import { chunkEntryFlags } from '../../src/format/chunk-table.ts';
import { filePath } from '../../src/format/file-names.ts';
import { decodeInternalKey } from '../../src/format/internal-key.ts';
import { parseListNode } from '../../src/format/list-node.ts';
import { decodeMetadata } from '../../src/format/metadata.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trees } from '../../src/format/trees.ts';
import { parseValueRecord, visitRecordRefs } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { END, MISS } from '../../src/tree/cursor.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';

/** One row of the key tree: a version of a key or its deletion. */
export interface Row {
  readonly seq: number;
  readonly space: number;
  /** User key, hex. */
  readonly key: string;
  readonly isPut: boolean;
  /** The call that put it; undefined for a removal. */
  readonly id: number | undefined;
  /** Checksum of the stored record. */
  readonly record: bigint;
}

export interface Audit {
  /** Every row of the key tree's tables, by sequence number, then key. */
  readonly rows: readonly Row[];
  /** What is wrong, in words; empty for a sound store. */
  readonly problems: readonly string[];
}

/** What a table says of one chunk. `chunk` is its number in this run. */
interface ChunkRow {
  readonly chunk: number;
  readonly refs: number;
  readonly flags: number;
  readonly segment: number;
  readonly off8: number;
  readonly storedLen: number;
  readonly rawLen: number;
  readonly kind: number;
}

/** What a file holds while its bytes have that checksum. */
interface TableContent {
  readonly mark: string;
  readonly rows: readonly Row[];
  /** Chunks its records reference, once for each time. */
  readonly refs: readonly number[];
  readonly chunks: readonly ChunkRow[];
}

interface SegmentContent {
  readonly mark: string;
  /** Frames read and found right. */
  readonly frames: Set<string>;
}

const cacheBytes = 1024 * 1024;

/** Audits the disks of one run, one after another. */
export class StoreAudit {
  #tables = new Map<number, TableContent>();
  #segments = new Map<number, SegmentContent>();
  /** Numbers of chunks by id (hex); ids by number; what list nodes name, by number. */
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #children = new Map<number, readonly number[]>();

  /** Audits what the newest catalog on `disk` names: everything, for a store just opened or closed. */
  async run(disk: MemoryFileSystem): Promise<Audit> {
    const loaded = await loadCatalogs(disk);
    const { catalog, slot } = loaded;
    const problems = loaded.problems.map(({ message }) => message);
    const tables = new Map<number, TableContent>();
    for (const meta of catalog.tables) {
      try {
        tables.set(meta.no, await this.#table(disk, meta, slot.dbUuid));
      } catch (error) {
        problems.push(String(error));
      }
    }
    this.#tables = tables;
    const segments = new SegmentSet(disk, {
      dbUuid: slot.dbUuid,
      onDamage: (error) => problems.push(`segment: ${String(error)}`),
    });
    for (const info of catalog.sealed) segments.add(info.no, info);
    for (const { no } of catalog.unsealed) segments.add(no);
    const live = new Map<number, SegmentContent>();
    for (const { no } of [...catalog.sealed, ...catalog.unsealed]) live.set(no, this.#segment(disk, no));
    this.#segments = live;
    try {
      await this.#checkChunks(catalog.tables, segments, problems);
    } finally {
      await segments.close();
    }
    const rows = Array.from(tables.values()).flatMap((table) => table.rows);
    rows.sort((a, b) => a.seq - b.seq || a.space - b.space || (a.key < b.key ? -1 : 1));
    for (const [i, row] of rows.entries()) {
      const next = rows[i + 1];
      if (next?.seq === row.seq && next.key === row.key && next.space === row.space)
        problems.push(`row ${row.seq}:${row.key} is there twice`);
    }
    return { rows, problems };
  }

  async #table(disk: MemoryFileSystem, meta: CatalogTable, dbUuid: Uint8Array): Promise<TableContent> {
    const mark = `${markOf(disk, filePath('tab', meta.no))} ${Object.values(meta).join()}`;
    const known = this.#tables.get(meta.no);
    if (known?.mark === mark) return known;
    const content = { mark, rows: [] as Row[], refs: [] as number[], chunks: [] as ChunkRow[] };
    const cache = new BlockCache(cacheBytes);
    if (meta.tree === trees.C) {
      const table = await ChunkTable.open(disk, meta, dbUuid, cache);
      await this.#readChunkRows(table, content.chunks);
      table.release();
      await table.closed();
      return content;
    }
    const table = await KeyTable.open(disk, meta, dbUuid, cache);
    await this.#readRows(table, meta.tree === trees.K, content);
    table.release();
    await table.closed();
    return content;
  }

  async #readRows(table: KeyTable, isKeys: boolean, content: { rows: Row[]; refs: number[] }): Promise<void> {
    const cursor = table.cursor();
    let started = false;
    for (let step = cursor.first(); ; step = started ? cursor.next() : cursor.first()) {
      if (step === END) return;
      if (step === MISS) {
        await cursor.load();
        continue;
      }
      started = true;
      if (!isKeys) continue;
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      const { space, userKey, seq } = decodeInternalKey(keyBytes, keyFrom, keyTo);
      const isPut = (valueBytes[valueFrom]! & 15) === rowKinds.put;
      const record = xxh64(valueBytes.subarray(valueFrom, valueTo));
      const id = isPut ? idOf(valueBytes, valueFrom, valueTo) : undefined;
      content.rows.push({ seq, space, key: toHex(userKey), isPut, id, record });
      visitRecordRefs(valueBytes, valueFrom, valueTo, (at) =>
        content.refs.push(this.#numberOf(valueBytes, at)),
      );
    }
  }

  async #readChunkRows(table: ChunkTable, out: ChunkRow[]): Promise<void> {
    const cursor = table.scan();
    for (;;) {
      const step = cursor.next();
      if (step === END) return;
      if (step === MISS) {
        await cursor.load();
        continue;
      }
      const { refs, flags, segment, off8, storedLen, rawLen, kind } = cursor.columns;
      const chunk = this.#numberOf(cursor.idBytes, cursor.idAt);
      out.push({ chunk, refs, flags, segment, off8, storedLen, rawLen, kind });
    }
  }

  #segment(disk: MemoryFileSystem, no: number): SegmentContent {
    const mark = markOf(disk, filePath('seg', no));
    const known = this.#segments.get(no);
    return known?.mark === mark ? known : { mark, frames: new Set() };
  }

  /** Every chunk in the index is where it says, and its count is that of records and list nodes together. */
  async #checkChunks(
    metas: readonly CatalogTable[],
    segments: SegmentSet,
    problems: string[],
  ): Promise<void> {
    const stored: number[] = [];
    const places: ChunkRow[] = [];
    const counted: number[] = [];
    const newestFirst = [...metas].sort((a, b) => b.maxSeq - a.maxSeq || b.no - a.no);
    for (const { no } of newestFirst) {
      const table = this.#tables.get(no);
      for (const row of table?.chunks ?? []) {
        stored[row.chunk] = (stored[row.chunk] ?? 0) + row.refs;
        if ((row.flags & chunkEntryFlags.saturated) !== 0)
          problems.push(`chunk ${this.#names[row.chunk]} has a count that is saturated`);
        if ((row.flags & (chunkEntryFlags.hasLocation | chunkEntryFlags.dropped)) !== 0)
          places[row.chunk] ??= row;
      }
      for (const chunk of table?.refs ?? []) counted[chunk] = (counted[chunk] ?? 0) + 1;
    }
    for (const key in stored) {
      const chunk = Number(key);
      const place = places[chunk];
      const problem = await this.#checkPlace(chunk, stored[chunk]!, place, segments);
      if (problem !== undefined) problems.push(`chunk ${this.#names[chunk]} ${problem}`);
      else if (place?.kind === chunkKinds.list) {
        for (const child of this.#children.get(chunk)!) counted[child] = (counted[child] ?? 0) + 1;
      }
    }
    for (let chunk = 0; chunk < this.#names.length; chunk++) {
      const [is, recount] = [stored[chunk], counted[chunk] ?? 0];
      if (is !== undefined && is !== recount)
        problems.push(`chunk ${this.#names[chunk]} counts ${is} references, a recount gives ${recount}`);
      if (is === undefined && recount > 0)
        problems.push(`chunk ${this.#names[chunk]} is referenced and not in the index`);
    }
  }

  /** What is wrong with the place of a chunk; undefined when it is there, and is what its id says. */
  async #checkPlace(
    chunk: number,
    refs: number,
    place: ChunkRow | undefined,
    segments: SegmentSet,
  ): Promise<string | undefined> {
    if (place === undefined || (place.flags & chunkEntryFlags.hasLocation) === 0)
      return `has ${refs} references and no location`;
    const { segment, off8, storedLen, rawLen, kind } = place;
    const known = this.#segments.get(segment)?.frames;
    const frame = `${chunk} ${off8} ${storedLen} ${rawLen} ${kind}`;
    if (known?.has(frame) === true) return undefined;
    const id = new Uint8Array(Buffer.from(this.#names[chunk]!, 'hex'));
    const bytes = await segments.readFrame(segment, off8, storedLen, id);
    if (bytes === undefined) return `is not at ${filePath('seg', segment)} ${off8 * 8}`;
    if (Buffer.compare(sha256(bytes), id) !== 0) return 'holds other bytes';
    if (bytes.length !== rawLen) return 'has another length';
    if (kind === chunkKinds.list) {
      const node = parseListNode(bytes, { file: this.#names[chunk]! });
      const children = Array.from({ length: node.count }, (_, i) => this.#numberOf(bytes, node.childIdAt(i)));
      this.#children.set(chunk, children);
    }
    known?.add(frame);
    return undefined;
  }

  #numberOf(bytes: Uint8Array, at: number): number {
    const name = Buffer.from(bytes.buffer, bytes.byteOffset + at, chunkIdBytes).toString('hex');
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

/** Checksum of all of a file's bytes. */
function markOf(disk: MemoryFileSystem, path: string): string {
  const bytes = disk.bytesOf(path);
  return `${bytes.length} ${xxh64(bytes)}`;
}

/** The call that put a row: its metadata tells. */
function idOf(bytes: Uint8Array, from: number, to: number): number {
  const record = parseValueRecord(bytes, from, to, { file: 'row' });
  const { metadata } = decodeMetadata(bytes, { file: 'row' }, record.metadataFrom, record.metadataTo);
  return metadata!.id as number;
}
