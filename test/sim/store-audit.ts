/**
 * An audit of the store's files after each open of a run, with no engine in between: which rows there are,
 * whether every reference count is what a recount gives, and whether every chunk is what its id says.
 *
 * Files of tables and segments are never changed once a catalog names them. So what a file was found to hold
 * is kept, with a checksum of all of its bytes, and taken again while the file has these bytes.
 */
import { toHex } from '../../src/base/bytes.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { loadCatalogs } from '../../src/catalog/catalog-load.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { chunkIdBytes, chunkKinds } from '../../src/format/chunk-ref.ts';
import { chunkEntryFlags } from '../../src/format/chunk-table.ts';
import { filePath, storeDirs } from '../../src/format/file-names.ts';
import { decodeInternalKey } from '../../src/format/internal-key.ts';
import { parseListNode } from '../../src/format/list-node.ts';
import { rowKindAt, rowKinds } from '../../src/format/row-kinds.ts';
import { tableFooter } from '../../src/format/table.ts';
import { trees } from '../../src/format/trees.ts';
import { parseValueRecord, visitRecordRefs } from '../../src/format/value-record.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { ChunkTable } from '../../src/tree/chunk-table-reader.ts';
import { END, MISS, type RowSource } from '../../src/tree/cursor.ts';
import { newestFirst } from '../../src/tree/table-order.ts';
import { KeyTable } from '../../src/tree/table-reader.ts';
import { idOf, markOf, nameOf } from './audit-names.ts';
import { InstalledCatalogs, numberOf } from './installed.ts';
import { pendingOf, type RangeMark, readSystemRow } from './range-audit.ts';
import type { Audit, Row } from './rows.ts';

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
  readonly ranges: readonly RangeMark[];
  /** Chunks its records reference, once for each time, and the names of the versions. */
  readonly refs: readonly { readonly of: string; readonly chunks: readonly number[] }[];
  /** Names of the versions its GONE rows take away. */
  readonly gone: readonly string[];
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
  /** Every row ever seen, by its name; and in order. */
  readonly #history = new Map<string, Row>();
  #rows: Row[] = [];
  #late: Row[] = [];
  readonly #drops = new Map<number, string>();
  readonly #purged = new Set<string>();
  readonly #strange: string[] = [];
  /** Tables of keys and of system rows that a catalog named, and those whose rows are known, by checksum. */
  readonly #metas = new Map<bigint, CatalogTable>();
  readonly #read = new Set<bigint>();
  /** Catalogs synced and tables that went since the last audit. */
  readonly #catalogs = new InstalledCatalogs();
  readonly #gone: { readonly path: string; readonly no: number; readonly bytes: Uint8Array }[] = [];
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
    await this.#readGone(disk, slot.dbUuid);
    const present = new Set<Row>();
    for (const row of Array.from(tables.values()).flatMap((table) => table.rows)) {
      if (present.has(row)) problems.push(`row ${row.seq}:${row.key} is there twice`);
      present.add(row);
    }
    for (const row of pendingOf(tables.values())) present.add(row);
    problems.push(...this.#strange.splice(0));
    if (this.#rows.length + this.#late.length !== this.#history.size) {
      const all = Array.from(this.#history.values());
      all.sort((a, b) => a.seq - b.seq || a.space - b.space || (a.key < b.key ? -1 : 1));
      this.#rows = all.filter(({ isLate }) => isLate !== true);
      this.#late = all.filter(({ isLate }) => isLate === true);
    }
    return {
      rows: this.#rows,
      late: this.#late,
      present,
      drops: this.#drops,
      problems,
      isPurged: (row) => this.#purged.has(nameOf(row)),
    };
  }

  /** To be told of the disk that a life begins with. */
  begin(disk: MemoryFileSystem): void {
    this.#catalogs.begin(disk);
  }

  /**
   * To be told before a catalog or SUPER is synced, and before a file is unlinked or renamed: merges drop
   * rows, and tables go.
   */
  noteFile(kind: 'gone' | 'sync', path: string, disk: MemoryFileSystem): void {
    if (kind === 'sync') {
      this.#catalogs.noteSync(path, disk);
      return;
    }
    const no = numberOf(path, 'tab');
    if (no !== undefined) this.#gone.push({ path, no, bytes: disk.bytesOf(path) });
  }

  /** Reads the rows of tables that came and went since the last audit. */
  async #readGone(now: MemoryFileSystem, dbUuid: Uint8Array): Promise<void> {
    const gone = this.#gone.splice(0);
    for (const { tables } of this.#catalogs.take(dbUuid)) {
      for (const meta of tables) if (meta.tree !== trees.C) this.#metas.set(meta.checksum, meta);
    }
    // Files that merges have replaced stay for one more catalog.
    for (const { no, checksum } of this.#metas.values()) {
      const path = filePath('tab', no);
      if (!this.#read.has(checksum) && (await now.stat(path)) !== null)
        gone.push({ path, no, bytes: now.bytesOf(path) });
    }
    if (gone.length === 0) return;
    const disk = new MemoryFileSystem();
    for (const dir of storeDirs) await disk.mkdir(dir);
    for (const { path, no, bytes } of gone) {
      // What no catalog named never counted; its number may have been given twice.
      const meta = this.#metas.get(xxh64(bytes.subarray(0, bytes.length - tableFooter.size)));
      if (meta?.no !== no || this.#read.has(meta.checksum)) continue;
      const parts = path.split('/');
      for (let i = 2; i < parts.length; i++) await disk.mkdir(parts.slice(0, i).join('/'));
      const file = await disk.open(path, 'create');
      await file.write(bytes, 0);
      await file.close();
      await this.#table(disk, meta, dbUuid);
    }
  }

  /** The row as it was seen first. */
  #known(row: Row): Row {
    const name = row.range === undefined ? nameOf(row) : `range ${row.seq}`;
    const known = this.#history.get(name);
    if (known === undefined) {
      this.#history.set(name, row);
      return row;
    }
    if (known.record !== row.record) this.#strange.push(`row ${row.seq}:${row.key} has changed`);
    return known;
  }

  async #table(disk: MemoryFileSystem, meta: CatalogTable, dbUuid: Uint8Array): Promise<TableContent> {
    const mark = `${markOf(disk, filePath('tab', meta.no))} ${Object.values(meta).join()}`;
    const known = this.#tables.get(meta.no);
    if (known?.mark === mark) return known;
    const content = {
      mark,
      rows: [] as Row[],
      ranges: [] as RangeMark[],
      refs: [] as { of: string; chunks: number[] }[],
      gone: [] as string[],
      chunks: [] as ChunkRow[],
    };
    const cache = new BlockCache(cacheBytes);
    if (meta.tree === trees.C) {
      const table = await ChunkTable.open(disk, meta, { dbUuid, cache });
      await this.#readChunkRows(table, content.chunks);
      table.release();
      await table.closed();
      return content;
    }
    const table = await KeyTable.open(disk, meta, { dbUuid, cache });
    await this.#readRows(table, meta.tree, content);
    table.release();
    await table.closed();
    this.#read.add(meta.checksum);
    return content;
  }

  async #readRows(
    table: KeyTable,
    tree: number,
    content: {
      rows: Row[];
      ranges: RangeMark[];
      refs: { of: string; chunks: number[] }[];
      gone: string[];
    },
  ): Promise<void> {
    const cursor = table.cursor();
    let started = false;
    for (let step = cursor.first(); ; step = started ? cursor.next() : cursor.first()) {
      if (step === END) return;
      if (step === MISS) {
        await cursor.load();
        continue;
      }
      started = true;
      // Entries of indexes are held against rows by queries.
      if (tree === trees.X) continue;
      if (tree !== trees.K) {
        this.#readSystemRow(cursor, content.ranges);
        continue;
      }
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      const { space, userKey, seq } = decodeInternalKey(keyBytes, keyFrom, keyTo);
      const kind = rowKindAt(valueBytes, valueFrom);
      const name = nameOf({ seq, space, key: toHex(userKey) });
      if (kind === rowKinds.gone) {
        content.gone.push(name);
        this.#purged.add(name);
        continue;
      }
      const isPut = kind === rowKinds.put;
      const isLate = kind === rowKinds.lateDelete;
      const record = xxh64(valueBytes.subarray(valueFrom, valueTo));
      const { timeMs: ms, expireAtMs: expires } = parseValueRecord(valueBytes, valueFrom, valueTo, {
        file: name,
      });
      const id = isPut ? idOf(valueBytes, valueFrom, valueTo) : undefined;
      const hasChunks = isPut && valueBytes[valueFrom]! >> 4 !== 0;
      const row = { seq, space, key: toHex(userKey), isPut, isLate, hasChunks, id, record, ms, expires };
      content.rows.push(this.#known(row));
      if (!hasChunks) continue;
      const chunks: number[] = [];
      visitRecordRefs(valueBytes, valueFrom, valueTo, (at) => chunks.push(this.#numberOf(valueBytes, at)));
      content.refs.push({ of: name, chunks });
    }
  }

  #readSystemRow(cursor: RowSource, ranges: RangeMark[]): void {
    const { dropped, mark } = readSystemRow(cursor);
    if (dropped !== undefined) this.#drops.set(dropped.seq, dropped.name);
    if (mark === undefined) return;
    const { of, seq, row } = mark;
    if (row !== undefined && of !== seq) this.#strange.push(`range delete ${of} is in commit ${seq}`);
    ranges.push({ of, seq, row: row === undefined ? undefined : this.#known(row) });
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
    const gone = new Set(Array.from(this.#tables.values()).flatMap((table) => table.gone));
    for (const { meta } of newestFirst(metas.map((one) => ({ meta: one })))) {
      const table = this.#tables.get(meta.no);
      for (const row of table?.chunks ?? []) {
        stored[row.chunk] = (stored[row.chunk] ?? 0) + row.refs;
        if ((row.flags & chunkEntryFlags.saturated) !== 0)
          problems.push(`chunk ${this.#names[row.chunk]} has a count that is saturated`);
        if ((row.flags & (chunkEntryFlags.hasLocation | chunkEntryFlags.dropped)) !== 0)
          places[row.chunk] ??= row;
      }
      for (const { of, chunks } of table?.refs ?? []) {
        if (gone.has(of)) continue;
        for (const chunk of chunks) counted[chunk] = (counted[chunk] ?? 0) + 1;
      }
    }
    for (const key in stored) {
      const chunk = Number(key);
      const place = places[chunk];
      const problem = await this.#checkPlace(chunk, stored[chunk]!, place, segments);
      if (problem !== undefined) problems.push(`chunk ${this.#names[chunk]} ${problem}`);
      else if (place?.kind === chunkKinds.list && (place.flags & chunkEntryFlags.dropped) === 0) {
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
      // Dropped, or its place went in a merge of older tables, with its frame.
      return refs === 0 ? undefined : `has ${refs} references and no location`;
    const { segment, off8, storedLen, rawLen, kind } = place;
    // Nothing refers to it, and cleaning has taken the segment away.
    if (refs === 0 && kind === chunkKinds.data && !segments.has(segment)) return undefined;
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
