/**
 * Reads one immutable table of the chunk tree.
 *
 * Pieces of the filter (14 bits per id) and the index (4 B per block of 72 entries) are read when they are
 * needed and kept within budgets. An id that passes the filter costs one read of 4 KiB, a second one where
 * the first ids of two blocks agree in their first 4 bytes.
 *
 * Invariant: a block is checked each time it is read from the file ("a flipped bit anywhere in a chunk table
 * is detected"). Whole scans: chunk-table-blocks.ts.
 */
import type { FileNo } from '../base/brands.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { CatalogTable } from '../format/catalog.ts';
import {
  ChunkColumns,
  checkChunkBlock,
  chunkBitsHash,
  chunkBlockBytes,
  chunkBlockCount,
  chunkBlockEntries,
  chunkBucketHash,
  chunkEntryAt,
  compareChunkIds,
  searchChunkBlock,
} from '../format/chunk-table.ts';
import type { TableFooter } from '../format/table.ts';
import type { FsPort } from '../fs/port.ts';
import { BlockHold, type BlockSource } from './block-hold.ts';
import type { ChunkCursor } from './chunk-cursor.ts';
import { ChunkPrefixes, type PrefixPart } from './chunk-prefixes.ts';
import { ChunkTableBlocks, ChunkTableScan, chunkBlockOffset, entriesOfBlock } from './chunk-table-blocks.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import { PagedFilter } from './paged-filter.ts';
import { PartRoom } from './part-room.ts';
import { TableFile, type TableOpen } from './table-file.ts';

/** A found chunk entry, reused for any number of lookups. */
export class ChunkHit extends ChunkColumns {
  /** After MISS: `load` or `loadSync` it, then repeat the same lookup. */
  readonly pending: BlockHold = new BlockHold();
}

/** An open chunk table. Held once by whoever opened it; `retain` and `release` count further holders. */
export class ChunkTable implements BlockSource {
  readonly meta: CatalogTable;
  readonly no: FileNo;
  readonly filter: PagedFilter;
  readonly prefixes: ChunkPrefixes;
  readonly #file: TableFile;
  readonly #cache: BlockCache;

  private constructor(
    meta: CatalogTable,
    file: TableFile,
    filter: PagedFilter,
    prefixes: ChunkPrefixes,
    cache: BlockCache,
  ) {
    this.meta = meta;
    this.no = meta.no;
    this.#file = file;
    this.filter = filter;
    this.prefixes = prefixes;
    this.#cache = cache;
  }

  /** Opens a table as KeyTable.open does, with the same errors. */
  static open(fs: FsPort, meta: CatalogTable, how: TableOpen): Promise<ChunkTable> {
    return TableFile.open(fs, meta, how, chunkBlockBytes, async (file, loadsAll) => {
      const props = await file.props(meta);
      if (props.keyHashVersion !== 0 || props.restartInterval !== chunkBlockEntries) {
        const message = `${file.path}: the table was built with parameters this build does not know`;
        throw new VarveError('VARVE_FORMAT_VERSION', message, { file: file.path });
      }
      if (props.indexOff !== file.footer.topIndexOff) {
        throw corrupt('chunk table has index partitions', file.place(file.footer.propsOff));
      }
      const filter = new PagedFilter(file, props, how.filters ?? new PartRoom());
      const prefixes = new ChunkPrefixes(file, how.indexes ?? new PartRoom());
      if (loadsAll) {
        await filter.loadAll(how.slice);
        await prefixes.loadBlock(0);
      }
      return new ChunkTable(meta, file, filter, prefixes, how.cache);
    });
  }

  /** What the footer says of the whole table. */
  get footer(): TableFooter {
    return this.#file.footer;
  }

  /** Damage that costs no row, met so far. */
  get problems(): readonly VarveError[] {
    return this.#file.problems;
  }

  /** Bytes of memory the filter and the index take. */
  get filterBytes(): number {
    return this.filter.bytes;
  }

  get indexBytes(): number {
    return this.prefixes.bytes;
  }

  /** The id at id[idAt..] lies between the first and the last of the table. */
  covers(id: Uint8Array, idAt: number): boolean {
    const { minKey, maxKey } = this.meta;
    return compareChunkIds(minKey, 0, id, idAt) <= 0 && compareChunkIds(maxKey, 0, id, idAt) >= 0;
  }

  /** False when the table has no entry for the id at id[idAt..], as far as the filter is in memory. */
  mayContain(id: Uint8Array, idAt: number): boolean {
    return this.filter.mayContainPair(chunkBucketHash(id, idAt), chunkBitsHash(id, idAt));
  }

  /** END: the table has no entry for the id. OK: maybe. MISS: `hold` wants the piece that tells. */
  ask(id: Uint8Array, idAt: number, hold: BlockHold): Step {
    return this.filter.askPair(chunkBucketHash(id, idAt), chunkBitsHash(id, idAt), hold);
  }

  /**
   * Position of the id's entry in a checked block; -1 when no block has it, -2 when only the block before
   * this one may (their first ids have the same prefix).
   */
  positionIn(prefixes: PrefixPart, block: Uint8Array, number: number, id: Uint8Array, idAt: number): number {
    const index = searchChunkBlock(block, id, idAt);
    if (index < chunkBlockCount(block) && compareChunkIds(block, chunkEntryAt(index), id, idAt) === 0) {
      return chunkEntryAt(index);
    }
    return index === 0 && number > 0 && prefixes.mayBegin(number, id, idAt) ? -2 : -1;
  }

  /**
   * The entry of the id at id[idAt..] in this table, whatever its flags. MISS: load `out.pending` and call
   * again. Does not ask the filter. Allocates nothing.
   */
  find(id: Uint8Array, idAt: number, out: ChunkHit): Step {
    const prefixes = this.prefixes.part(0, out.pending);
    if (prefixes === undefined) return MISS;
    for (let number = prefixes.blockFor(id, idAt); number >= 0; number--) {
      const block = out.pending.find(this, number);
      if (block === undefined) return out.pending.want(this, number);
      const at = this.positionIn(prefixes, block, number, id, idAt);
      if (at === -1) return END;
      if (at === -2) continue;
      out.read(block, at);
      return OK;
    }
    return END;
  }

  /**
   * All entries in order, read past the cache in pieces of at most 128 KiB, or `pieceBytes`. Valid while the
   * table is held.
   */
  scan(pieceBytes?: number): ChunkCursor {
    return new ChunkTableScan(this.scanBlocks(pieceBytes));
  }

  /** As `scan`, block by block; `readsAhead`: the next piece while one is gone through. */
  scanBlocks(pieceBytes?: number, readsAhead = false): ChunkTableBlocks {
    return new ChunkTableBlocks(this.#file, this.footer.dataBlocks, pieceBytes, readsAhead);
  }

  get held(): boolean {
    return this.#file.held;
  }

  cached(block: number): Uint8Array | undefined {
    return this.#cache.get(this.no, chunkBlockOffset(block));
  }

  async loadBlock(block: number): Promise<Uint8Array> {
    const buf = new Uint8Array(chunkBlockBytes);
    await this.#file.read(buf, chunkBlockOffset(block));
    return this.#admit(block, buf);
  }

  loadBlockSync(block: number): Uint8Array {
    const buf = new Uint8Array(chunkBlockBytes);
    this.#file.readSync(buf, chunkBlockOffset(block));
    return this.#admit(block, buf);
  }

  retain(): void {
    this.#file.retain();
  }

  release(): void {
    this.#file.release();
  }

  /** Resolves once the file is closed, at once while somebody holds it. */
  closed(): Promise<void> {
    return this.#file.closed();
  }

  #admit(block: number, buf: Uint8Array): Uint8Array {
    const offset = chunkBlockOffset(block);
    checkChunkBlock(buf, entriesOfBlock(this.footer, block), this.#file.seed, offset, this.#file.path);
    this.#cache.set(this.no, offset, buf);
    return buf;
  }
}
