/**
 * Reads one immutable table of an ordered tree (K, X, S).
 *
 * Resident: the top index. Pieces of the filter (12 bits per row prefix) and of the index (separators and
 * 24 B per data block) are read when they are needed and kept within budgets. A lookup that passes the filter
 * needs one data block; that block comes from the cache or is read whole, checked, and then trusted.
 *
 * Invariants
 * - A lookup needs at most one block ("a lookup reads at most one block").
 * - A block is checked each time it is read from the file ("a flipped bit anywhere in a table is detected").
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { VarveError } from '../base/errors.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { FileSeed } from '../codec/checksum.ts';
import { keyHashVersion } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { checkDataBlock, EntrySpot, restartInterval, searchDataBlock } from '../format/data-block.ts';
import { fileHeader } from '../format/file-header.ts';
import { dataBlockBytesTarget, type TableProps } from '../format/table.ts';
import type { FsPort } from '../fs/port.ts';
import type { BlockHold, BlockSource } from './block-hold.ts';
import { END, type KeyCursor, MISS, OK, type Step } from './cursor.ts';
import { PagedFilter } from './paged-filter.ts';
import { type IndexPart, PagedIndex } from './paged-index.ts';
import { PartRoom } from './part-room.ts';
import type { RowRef } from './row-ref.ts';
import { TableCursor } from './table-cursor.ts';
import { TableFile, type TableOpen } from './table-file.ts';
import { TableScan } from './table-scan.ts';

/** The cache takes offsets, which are multiples of 8; numbers of blocks stand for them. */
const blockNumberUnit = 8;

/** An open table. Held once by whoever opened it; `retain` and `release` count further holders. */
export class KeyTable implements BlockSource {
  readonly meta: CatalogTable;
  readonly no: FileNo;
  readonly index: PagedIndex;
  readonly filter: PagedFilter;
  readonly #file: TableFile;
  readonly #cache: BlockCache;
  readonly #spot = new EntrySpot();

  private constructor(
    meta: CatalogTable,
    file: TableFile,
    filter: PagedFilter,
    index: PagedIndex,
    cache: BlockCache,
  ) {
    this.meta = meta;
    this.no = meta.no;
    this.#file = file;
    this.filter = filter;
    this.index = index;
    this.#cache = cache;
  }

  /**
   * Opens a table and checks all of it that it reads, which is all but the data blocks unless it is told to
   * be lazy. VARVE_CORRUPT with file and offset, VARVE_FORMAT_VERSION, VARVE_IO (errno ENOENT when the file
   * is missing).
   */
  static open(fs: FsPort, meta: CatalogTable, how: TableOpen): Promise<KeyTable> {
    return TableFile.open(fs, meta, how, fileHeader.size, async (file, loadsAll) => {
      const props = await file.props(meta);
      refuseUnknown(props, file.path);
      const filter = new PagedFilter(file, props, how.filters ?? new PartRoom());
      const index = await PagedIndex.open(file, props, how.indexes ?? new PartRoom());
      if (loadsAll) {
        await filter.loadAll(how.slice);
        await index.loadAll(how.slice);
      }
      return new KeyTable(meta, file, filter, index, how.cache);
    });
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
    return this.index.topBytes + this.index.bytes;
  }

  /**
   * False when no row has a prefix with this hash (codec/key-hash.ts), as far as the filter is in memory.
   */
  mayContain(hash: number): boolean {
    return this.filter.mayContain(hash);
  }

  /**
   * The newest row whose key is prefixBuf[from..to) and a sequence number <= seqMax, whatever its kind. MISS:
   * load `out.pending` and call again. Row prefixes must be free of prefixes of each other, which the keys
   * of every tree are. Allocates nothing.
   */
  find(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    out.aim(prefixBuf, from, to, seqMax);
    const { target, targetTo } = out;
    const part = this.index.partFor(target, targetTo, out.pending);
    if (part === undefined) return MISS;
    const number = part.find(target, targetTo);
    const block = out.pending.find(this, number);
    if (block === undefined) return out.pending.want(this, number);
    const spot = this.#spot;
    if (!searchDataBlock(block, target, targetTo, spot)) return END;
    const prefixBytes = to - from;
    if (spot.keyBytes !== targetTo) return END;
    const suffix = spot.suffixFrom - spot.shared;
    for (let i = spot.shared; i < prefixBytes; i++) if (block[suffix + i] !== target[i]) return END;
    let high = 0;
    let low = 0;
    for (let i = prefixBytes; i < targetTo; i++) {
      const byte = ~(i < spot.shared ? target[i]! : block[suffix + i]!) & 255;
      if (i < prefixBytes + 4) high = (high << 8) | byte;
      else low = (low << 8) | byte;
    }
    out.seq = (high >>> 0) * 2 ** 32 + (low >>> 0);
    out.bytes = block;
    out.block = number;
    out.valueFrom = spot.valueFrom;
    out.valueTo = spot.valueTo;
    return OK;
  }

  /**
   * A cursor over the rows, valid while the table is held. `hold`, if given, loads its misses. With `above`
   * it passes over blocks with no number above that, and goes forward only. Once it has gone through a few
   * blocks it reads `aheadBytes` at once, past the cache; less than two blocks of them: it does not.
   */
  cursor(hold?: BlockHold, above?: Seq, aheadBytes = 0): KeyCursor {
    const isAhead = aheadBytes >= 2 * dataBlockBytesTarget;
    const ahead = isAhead ? new TableScan(this.#file, this.index, aheadBytes) : undefined;
    return new TableCursor(this, this.index, hold, above, ahead);
  }

  /**
   * A cursor that reads the table front to back past the cache, `pieceBytes` at once. Valid while it is held.
   * `reuses`, for merges: it is not turned round, and a row is good until the next move only.
   */
  scan(pieceBytes?: number, reuses = false): KeyCursor {
    return new TableCursor(new TableScan(this.#file, this.index, pieceBytes, reuses), this.index, undefined);
  }

  /** Seeds the checksums of its blocks. */
  get seed(): FileSeed {
    return this.#file.seed;
  }

  /** Rows that are not PUT. */
  get tombstones(): number {
    return this.#file.footer.tombstones;
  }

  get held(): boolean {
    return this.#file.held;
  }

  cached(block: number): Uint8Array | undefined {
    return this.#cache.get(this.no, block * blockNumberUnit);
  }

  async loadBlock(block: number, borrows?: boolean): Promise<Uint8Array> {
    const { index } = this;
    const number = index.numberOf(block);
    const part = index.cached(number) ?? (await index.loadBlock(number));
    const raw = await this.#file.block(part.offsetOf(block), part.lengthOf(block));
    return this.#admit(block, part, raw, borrows);
  }

  loadBlockSync(block: number, borrows?: boolean): Uint8Array {
    const { index } = this;
    const number = index.numberOf(block);
    const part = index.cached(number) ?? index.loadBlockSync(number);
    const raw = this.#file.blockSync(part.offsetOf(block), part.lengthOf(block));
    return this.#admit(block, part, raw, borrows);
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

  #admit(block: number, part: IndexPart, raw: Uint8Array, borrows?: boolean): Uint8Array {
    checkDataBlock(raw, part.rowsOf(block), this.#file.place(part.offsetOf(block)));
    this.#cache.set(this.no, block * blockNumberUnit, raw, borrows);
    return raw;
  }
}

function refuseUnknown(props: TableProps, file: string): void {
  if (props.keyHashVersion !== keyHashVersion || props.restartInterval !== restartInterval) {
    const message = `${file}: the table was built with parameters this build does not know`;
    throw new VarveError('VARVE_FORMAT_VERSION', message, { file });
  }
}
