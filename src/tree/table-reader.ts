/**
 * Reads one immutable table of an ordered tree (K, X, S).
 *
 * Resident: the filter (12 bits per row prefix) and the index (separators and 16 B per data block). A lookup
 * that passes the filter needs one data block; that block comes from the cache or is read whole, checked, and
 * then trusted.
 *
 * Invariants
 * - A lookup needs at most one block ("a lookup reads at most one block").
 * - A block is checked each time it is read from the file ("a flipped bit anywhere in a table is detected").
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { FileSeed } from '../codec/checksum.ts';
import { keyHashVersion } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { checkDataBlock, EntrySpot, restartInterval, searchDataBlock } from '../format/data-block.ts';
import { fileHeader } from '../format/file-header.ts';
import { seqBytes } from '../format/internal-key.ts';
import { blockTrailer, type TableProps } from '../format/table.ts';
import { decodeTopIndex, TableIndex } from '../format/table-index.ts';
import type { FsPort } from '../fs/port.ts';
import type { BlockHold, BlockSource } from './block-hold.ts';
import type { BloomFilter } from './bloom.ts';
import { END, type KeyCursor, OK, type Step } from './cursor.ts';
import type { FilterBudget } from './filter-budget.ts';
import type { RowRef } from './row-ref.ts';
import { TableCursor } from './table-cursor.ts';
import { TableFile } from './table-file.ts';
import { TableScan } from './table-scan.ts';

/** An open table. Held once by whoever opened it; `retain` and `release` count further holders. */
export class KeyTable implements BlockSource {
  readonly meta: CatalogTable;
  readonly no: FileNo;
  readonly index: TableIndex;
  readonly #file: TableFile;
  readonly #filter: BloomFilter | undefined;
  readonly #cache: BlockCache;
  readonly #spot = new EntrySpot();

  private constructor(
    meta: CatalogTable,
    file: TableFile,
    filter: BloomFilter | undefined,
    index: TableIndex,
    cache: BlockCache,
  ) {
    this.meta = meta;
    this.no = meta.no;
    this.#file = file;
    this.#filter = filter;
    this.index = index;
    this.#cache = cache;
  }

  /**
   * Opens a table and checks all of it but the data blocks. VARVE_CORRUPT with file and offset,
   * VARVE_FORMAT_VERSION, VARVE_IO (errno ENOENT when the file is missing). The filter takes its memory from
   * `room`, where one is given.
   */
  static open(
    fs: FsPort,
    meta: CatalogTable,
    dbUuid: Uint8Array,
    cache: BlockCache,
    room?: FilterBudget,
  ): Promise<KeyTable> {
    return TableFile.open(fs, meta, dbUuid, fileHeader.size, async (file) => {
      const props = await file.props(meta);
      refuseUnknown(props, file.path);
      const filter = await file.filter(props, room);
      return new KeyTable(meta, file, filter, await readIndex(file, props), cache);
    });
  }

  /** Damage met at the open that costs no row. */
  get problems(): readonly VarveError[] {
    return this.#file.problems;
  }

  /** Bytes of memory the filter and the index take. */
  get filterBytes(): number {
    return this.#filter?.bytes ?? 0;
  }

  get indexBytes(): number {
    return this.index.bytes;
  }

  /** False when no row has a prefix with this hash (codec/key-hash.ts). */
  mayContain(hash: number): boolean {
    return this.#filter === undefined || this.#filter.mayContain(hash);
  }

  /**
   * The newest row whose key is prefixBuf[from..to) and a sequence number <= seqMax, whatever its kind. MISS:
   * load `out.pending` and call again. Row prefixes must be free of prefixes of each other, which the keys
   * of every tree are. Allocates nothing.
   */
  find(prefixBuf: Uint8Array, from: number, to: number, seqMax: number, out: RowRef): Step {
    out.aim(prefixBuf, from, to, seqMax);
    const { target, targetTo } = out;
    const number = this.index.find(target, targetTo);
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
   * it passes over blocks with no number above that, and goes forward only.
   */
  cursor(hold?: BlockHold, above?: Seq): KeyCursor {
    return new TableCursor(this, this.index, hold, above);
  }

  /** A cursor that reads the table front to back past the cache, for merges. Valid while it is held. */
  scan(): KeyCursor {
    return new TableCursor(new TableScan(this.#file, this.index), this.index, undefined);
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
    return this.#cache.get(this.no, this.index.offsetOf(block));
  }

  async loadBlock(block: number): Promise<Uint8Array> {
    return this.#admit(block, await this.#file.block(this.index.offsetOf(block), this.index.lengthOf(block)));
  }

  loadBlockSync(block: number): Uint8Array {
    return this.#admit(block, this.#file.blockSync(this.index.offsetOf(block), this.index.lengthOf(block)));
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

  #admit(block: number, raw: Uint8Array): Uint8Array {
    const offset = this.index.offsetOf(block);
    checkDataBlock(raw, this.index.rowsOf(block), this.#file.place(offset));
    this.#cache.set(this.no, offset, raw);
    return raw;
  }
}

async function readIndex(file: TableFile, props: TableProps): Promise<TableIndex> {
  const { footer } = file;
  const topPlace = file.place(footer.topIndexOff);
  if (footer.dataBlocks * (blockTrailer.size + seqBytes) > footer.dataLen) {
    throw corrupt('table has more blocks than bytes for them', topPlace);
  }
  const top = await file.block(footer.topIndexOff, footer.topIndexLen);
  const partitions = decodeTopIndex(top, props.indexPartitions, props.indexOff, footer.topIndexOff, topPlace);
  const index = new TableIndex(footer.dataBlocks, fileHeader.size);
  for (const partition of partitions) {
    const raw = await file.block(partition.offset, partition.length);
    index.addPartition(raw, partition, file.place(partition.offset));
  }
  index.complete(footer, topPlace);
  return index;
}

function refuseUnknown(props: TableProps, file: string): void {
  if (props.keyHashVersion !== keyHashVersion || props.restartInterval !== restartInterval) {
    const message = `${file}: the table was built with parameters this build does not know`;
    throw new VarveError('VARVE_FORMAT_VERSION', message, { file });
  }
}
