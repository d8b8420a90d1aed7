/**
 * What can still be read of a table of an ordered tree: its blocks that are whole, by the index where that
 * can be read, else found by their trailers, which tell a block's length and check it.
 *
 * Memory: a window of 4 MiB, and 24 B per block.
 */
import { align8, compareRange, toHex } from '../base/bytes.ts';
import { corrupt, isDamage } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { BlockCache } from '../cache/block-cache.ts';
import { checksumMatches, FileSeed } from '../codec/checksum.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { checkDataBlock, EntrySpot, entriesEnd, restartInterval } from '../format/data-block.ts';
import { decodeFileHeader, fileHeader, fileKinds, magicOf } from '../format/file-header.ts';
import { filePath } from '../format/file-names.ts';
import { decodeInternalKey, decodeSysKey } from '../format/internal-key.ts';
import {
  blockTrailer,
  dataBlockBytesMax,
  decodeTableFooter,
  decodeTableProps,
  openBlock,
  tableFooter,
} from '../format/table.ts';
import { isTree, trees } from '../format/trees.ts';
import { hasErrno, readExact } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { KeyTable } from '../tree/table-reader.ts';

/** A block that is whole. */
export interface BlockSpan {
  readonly offset: number;
  /** With trailer, without padding. */
  readonly length: number;
  readonly rows: number;
}

/** A stretch of keys whose rows in this table are lost. */
export interface KeyGap {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** A table, or what is left of it. */
export interface SalvagedTable {
  readonly no: number;
  readonly tree: number;
  readonly level: number;
  /** Undefined where no row is left. */
  readonly seed: FileSeed | undefined;
  readonly blocks: readonly BlockSpan[];
  /** Rows of `blocks`. */
  readonly rows: number;
  /** The table can be used as it is. */
  readonly isWhole: boolean;
  /** What the catalog says of it, or where there is none the table itself. */
  readonly meta: CatalogTable | undefined;
  readonly gaps: readonly KeyGap[];
  /** Rows are lost and nothing tells of which keys. */
  readonly isUnknownLoss: boolean;
}

/** Reads a table the catalog names, of any tree but C; never throws for damage. */
export async function salvageTable(
  fs: FsPort,
  meta: CatalogTable,
  dbUuid: Uint8Array,
): Promise<SalvagedTable> {
  try {
    return await byIndex(fs, meta, dbUuid);
  } catch (error) {
    if (!isDamage(error) && !hasErrno(error, 'ENOENT')) throw error;
    return await byTrailers(fs, meta.no, meta.tree, meta.level, meta, dbUuid);
  }
}

/**
 * Reads a table that no catalog names, of whatever tree; undefined when it is none of this store. Of tree C
 * nothing but that is told.
 */
export async function salvageUnnamed(
  fs: FsPort,
  no: number,
  dbUuid: Uint8Array,
): Promise<SalvagedTable | undefined> {
  const path = filePath('tab', no);
  const file = await fs.open(path, 'read');
  let tree: number;
  let meta: CatalogTable | undefined;
  try {
    const header = await readHeader(file, no, dbUuid);
    if (header === undefined || !isTree(header.subKind)) return undefined;
    tree = header.subKind;
    if (tree === trees.C)
      return {
        no,
        tree,
        level: 0,
        seed: header.seed,
        blocks: [],
        rows: 0,
        isWhole: true,
        meta: undefined,
        gaps: [],
        isUnknownLoss: false,
      };
    meta = await metaOf(file, no, tree, header.seed);
  } finally {
    await file.close();
  }
  if (meta === undefined) return await byTrailers(fs, no, tree, 0, undefined, dbUuid);
  const found = await salvageTable(fs, meta, dbUuid);
  return found;
}

/** What the footer and the properties of a table say of it; its keys are left empty. */
async function metaOf(
  file: FsFile,
  no: number,
  tree: number,
  seed: FileSeed,
): Promise<CatalogTable | undefined> {
  try {
    const size = await file.size();
    if (size < fileHeader.size + tableFooter.size) return undefined;
    const tail = new Uint8Array(tableFooter.size);
    await readExact(file, tail, size - tail.length);
    const footer = decodeTableFooter(tail, seed, fileHeader.size, size, file.path);
    const raw = new Uint8Array(align8(footer.propsLen));
    await readExact(file, raw, footer.propsOff);
    const bytes = openBlock(raw, footer.propsLen, seed, footer.propsOff, file.path);
    const { level } = decodeTableProps(bytes, footer, tree, 255, {
      file: file.path,
      offset: footer.propsOff,
    });
    const { entries, minSeq, maxSeq, fileChecksum: checksum } = footer;
    const none = new Uint8Array(0);
    return { tree, level, no, size, entries, minKey: none, maxKey: none, minSeq, maxSeq, checksum };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

async function byIndex(fs: FsPort, meta: CatalogTable, dbUuid: Uint8Array): Promise<SalvagedTable> {
  const table = await KeyTable.open(fs, meta, { dbUuid, cache: new BlockCache(0) });
  try {
    const { index } = table;
    const blocks: BlockSpan[] = [];
    const gaps: KeyGap[] = [];
    let rows = 0;
    for (let block = 0; block < index.blocks; block++) {
      try {
        await table.loadBlock(block);
        const span = {
          offset: index.offsetOf(block),
          length: index.lengthOf(block),
          rows: index.rowsOf(block),
        };
        blocks.push(span);
        rows += span.rows;
      } catch (error) {
        if (!isDamage(error)) throw error;
        const from = block === 0 ? meta.minKey : index.separatorOf(block).slice();
        const to = block + 1 === index.blocks ? meta.maxKey : index.separatorOf(block + 1).slice();
        gaps.push({ from, to });
      }
    }
    const isWhole = gaps.length === 0 && table.problems.length === 0;
    return {
      no: meta.no,
      tree: meta.tree,
      level: meta.level,
      seed: table.seed,
      blocks,
      rows,
      isWhole,
      meta,
      gaps,
      isUnknownLoss: false,
    };
  } finally {
    table.release();
    await table.closed();
  }
}

/** Header of a table; one flipped bit in it is mended. Undefined when it is no table of this store. */
async function readHeader(
  file: FsFile,
  no: number,
  dbUuid: Uint8Array,
): Promise<{ seed: FileSeed; subKind: number } | undefined> {
  const bytes = new Uint8Array(fileHeader.size);
  if ((await file.read(bytes, 0)) < bytes.length) return undefined;
  const sum = fileHeader.at.checksum;
  for (let bit = -1; bit < bytes.length * 8; bit++) {
    if (bit >= 0) bytes[bit >> 3]! ^= 1 << (bit & 7);
    if (checksumMatches(bytes, sum, 0, sum)) {
      try {
        return decodeFileHeader(bytes, { kind: 'table', fileNo: no, dbUuid }, file.path);
      } catch (error) {
        if (!isDamage(error)) throw error;
        return undefined;
      }
    }
    if (bit >= 0) bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  // Its checksum does not help: the salt may still be right, and then blocks validate.
  const magic = magicOf(fileKinds.table);
  if (toHex(bytes.subarray(24, 40)) !== toHex(dbUuid) && toHex(bytes.subarray(0, 8)) !== toHex(magic))
    return undefined;
  return { seed: new FileSeed(bytes.slice(40, 52)), subKind: bytes[fileHeader.at.subKind]! };
}

const windowBytes = 4 * MiB;

/** Finds data blocks by their trailers, front to back. */
async function byTrailers(
  fs: FsPort,
  no: number,
  tree: number,
  level: number,
  meta: CatalogTable | undefined,
  dbUuid: Uint8Array,
): Promise<SalvagedTable> {
  const lost = { no, tree, level, meta, isWhole: false } as const;
  const all: KeyGap[] =
    meta === undefined || meta.minKey.length === 0 ? [] : [{ from: meta.minKey, to: meta.maxKey }];
  const nothing = {
    ...lost,
    seed: undefined,
    blocks: [],
    rows: 0,
    gaps: all,
    isUnknownLoss: all.length === 0,
  };
  const path = filePath('tab', no);
  const file = await fs.open(path, 'read').catch((error: unknown) => {
    if (!hasErrno(error, 'ENOENT') && !hasErrno(error, 'EIO')) throw error;
    return undefined;
  });
  if (file === undefined) return nothing;
  try {
    const header = await readHeader(file, no, dbUuid);
    if (header === undefined) return nothing;
    const walk = new TrailerWalk(file, header.seed, tree);
    await walk.run(await file.size());
    if (walk.blocks.length === 0) return nothing;
    const isAll = meta !== undefined && walk.rows === meta.entries;
    const { blocks, rows } = walk;
    const gaps = isAll ? [] : walk.gapsWithin(meta);
    return { ...lost, seed: header.seed, blocks, rows, gaps, isUnknownLoss: !isAll && gaps.length === 0 };
  } finally {
    await file.close();
  }
}

class TrailerWalk {
  readonly blocks: BlockSpan[] = [];
  rows = 0;
  readonly #file: FsFile;
  readonly #seed: FileSeed;
  readonly #tree: number;
  readonly #gaps: KeyGap[] = [];
  #end: number = fileHeader.size;
  #first: Uint8Array | undefined;
  #last: Uint8Array | undefined;

  constructor(file: FsFile, seed: FileSeed, tree: number) {
    this.#file = file;
    this.#seed = seed;
    this.#tree = tree;
  }

  async run(size: number): Promise<void> {
    const buf = new Uint8Array(Math.min(size, windowBytes + dataBlockBytesMax + 32));
    const view = new DataView(buf.buffer);
    // A block that ends in a window begins in it or at most the longest block before.
    for (let from = 0; from < size; from += windowBytes) {
      const base = Math.max(0, from - dataBlockBytesMax);
      const got = await this.#file.read(buf.subarray(0, Math.min(buf.length, size - base)), base);
      const to = Math.min(got - blockTrailer.size, from - base + windowBytes);
      for (let t = from - base; t <= to; t++) {
        if (view.getUint32(t, true) !== 0) continue;
        const rawLen = view.getUint32(t + blockTrailer.at.rawLen, true);
        const start = t - rawLen;
        if (rawLen === 0 || start < 0 || (base + start) % 8 !== 0 || base + start < this.#end) continue;
        this.#try(buf, got, start, t, base);
      }
    }
  }

  #try(buf: Uint8Array, got: number, start: number, trailerAt: number, base: number): void {
    const length = trailerAt + blockTrailer.size - start;
    const to = start + align8(length);
    if (to > got) return;
    const offset = base + start;
    const { path } = this.#file;
    let keys: { first: Uint8Array; last: Uint8Array; rows: number };
    try {
      const raw = openBlock(buf.subarray(start, to), length, this.#seed, offset, path);
      keys = keysOf(raw, this.#tree, { file: path, offset });
    } catch (error) {
      if (!isDamage(error)) throw error;
      return;
    }
    const { first, last, rows } = keys;
    const before = this.#last;
    if (before !== undefined && compareRange(before, 0, before.length, first, 0, first.length) > 0) return;
    if (offset > this.#end) this.#gaps.push({ from: before ?? new Uint8Array(0), to: first });
    this.blocks.push({ offset, length, rows });
    this.rows += rows;
    this.#end = offset + align8(length);
    this.#first ??= first;
    this.#last = last;
  }

  /** Stretches without rows; at both ends as far as the catalog says that the table reached. */
  gapsWithin(meta: CatalogTable | undefined): KeyGap[] {
    const gaps = this.#gaps.map(({ from, to }) => ({
      from: from.length === 0 ? (meta?.minKey ?? from) : from,
      to,
    }));
    const last = this.#last!;
    if (meta !== undefined && compareRange(last, 0, last.length, meta.maxKey, 0, meta.maxKey.length) < 0)
      gaps.push({ from: last, to: meta.maxKey });
    return gaps;
  }
}

/** First and last key of a data block found without an index. VARVE_CORRUPT when it is none. */
function keysOf(
  raw: Uint8Array,
  tree: number,
  place: { file: string; offset: number },
): { first: Uint8Array; last: Uint8Array; rows: number } {
  const rows = rowsIn(raw, place);
  checkDataBlock(raw, rows, place);
  const spot = new EntrySpot();
  let key = new Uint8Array(0);
  let first: Uint8Array | undefined;
  for (let at = 0; at < entriesEnd(raw); at = spot.valueTo) {
    spot.read(raw, at);
    const next = new Uint8Array(spot.keyBytes);
    next.set(key.subarray(0, spot.shared));
    next.set(raw.subarray(spot.suffixFrom, spot.suffixTo), spot.shared);
    key = next;
    first ??= key;
  }
  for (const each of [first!, key]) {
    if (tree === trees.K) decodeInternalKey(each, 0, each.length, place);
    else if (tree === trees.S) decodeSysKey(each, 0, each.length, place);
  }
  return { first: first!, last: key, rows };
}

/** Entries of a block whose number nothing tells. */
function rowsIn(raw: Uint8Array, place: { file: string; offset: number }): number {
  if (raw.length < 8) throw corrupt('too short for a data block', place);
  const restarts = new DataView(raw.buffer, raw.byteOffset, raw.length).getUint32(raw.length - 4, true);
  const end = raw.length - 4 - 4 * restarts;
  if (restarts === 0 || end <= 0) throw corrupt('no data block', place);
  const spot = new EntrySpot();
  let rows = 0;
  for (let at = 0; at < end; rows++) {
    if (at + 3 > end || rows > restarts * restartInterval) throw corrupt('no data block', place);
    spot.read(raw, at);
    if (!(spot.valueTo > at) || spot.valueTo > end) throw corrupt('no data block', place);
    at = spot.valueTo;
  }
  return rows;
}
