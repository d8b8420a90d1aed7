/**
 * What tables of all trees have in common when read: the open file, header, footer and properties.
 *
 * Invariants
 * - Nothing is allocated or read by a length that was not checked against the size the catalog gives ("a
 *   flipped bit anywhere in a table is detected").
 * - Damage of the filter, or bytes behind the end, cost no row ("a damaged filter costs only the filter",
 *   "bytes behind the end of a table are reported and the table is served").
 * - The file is closed when the last holder releases it, and not before ("a view keeps a table open").
 * - A small table is opened with one read ("opening a small table reads it once"), a larger one with three
 *   ("filter and index of a large table are one read"); where one of them fails each part is read alone, so
 *   that a bad sector costs no more than what lies in it.
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { align8, concatBytes, isZero } from '../base/bytes.ts';
import { corrupt, isDamage, type Place, type VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { FileSeed } from '../codec/checksum.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { decodeFileHeader, fileHeader } from '../format/file-header.ts';
import { filePath } from '../format/file-names.ts';
import {
  decodeTableFooter,
  decodeTableProps,
  openBlock,
  type TableFooter,
  type TableProps,
  tableBytesMax,
  tableFooter,
} from '../format/table.ts';
import { readExact, readExactSync } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import type { MergeSlice } from './merge-slice.ts';
import type { PartRoom } from './part-room.ts';

/** A table of this size is read at once when it is opened. */
const smallBytes = 64 * KiB;
/** Read of the end of a larger one: footer, properties and, as a rule, the top index. */
const endBytes = 4 * KiB;
/** Bytes of filter and index before those that are read at once where all of both is to be read. */
const widenBytesMax = 4 * MiB;

/** What a table is opened with. */
export interface TableOpen {
  readonly dbUuid: Uint8Array;
  readonly cache: BlockCache;
  /** Budgets of filters and indexes; without bounds where left out. */
  readonly filters?: PartRoom | undefined;
  readonly indexes?: PartRoom | undefined;
  /**
   * Filter and index are read when somebody needs them, but for a table that is read whole anyway. Left out:
   * at once, as far as the budgets have room, and checked as a whole.
   */
  readonly isLazy?: boolean;
  /** Where much is read at once, the thread is given back as it says. */
  readonly slice?: MergeSlice | undefined;
  /** Told of damage that costs no row and is met after the open. */
  readonly onDamage?: ((error: VarveError) => void) | undefined;
}

/** Bytes of the file from `from` on, read at once; served while the table is opened. */
interface Window {
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** An open table file; counts its holders. */
export class TableFile {
  readonly no: FileNo;
  readonly path: string;
  readonly seed: FileSeed;
  readonly footer: TableFooter;
  /** Damage that costs no row: a filter that cannot be used, bytes behind the end. */
  readonly problems: VarveError[];
  readonly #file: FsFile;
  #window: Window | undefined;
  readonly #onDamage: ((error: VarveError) => void) | undefined;
  readonly #closing: (() => void)[] = [];
  #holders = 1;
  #closed: Promise<void> | undefined;

  private constructor(
    meta: CatalogTable,
    file: FsFile,
    window: Window | undefined,
    { seed, footer, problems }: TableEnds,
    onDamage: ((error: VarveError) => void) | undefined,
  ) {
    this.#onDamage = onDamage;
    this.no = meta.no;
    this.path = file.path;
    this.seed = seed;
    this.footer = footer;
    this.problems = problems;
    this.#file = file;
    this.#window = window;
  }

  /**
   * Opens the table the catalog names in `meta`, whose data starts at `dataFrom`, and lets `read` make what
   * reads it: all of filter and index is to be read at once where it is told so. Held once when it resolves;
   * closed when anything fails. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_IO.
   */
  static async open<T>(
    fs: FsPort,
    meta: CatalogTable,
    { dbUuid, isLazy = false, onDamage }: TableOpen,
    dataFrom: number,
    read: (table: TableFile, loadsAll: boolean) => Promise<T>,
  ): Promise<T> {
    const file = await fs.open(filePath('tab', meta.no), 'read');
    let table: TableFile | undefined;
    try {
      const problems = await checkSize(file, meta, dataFrom);
      const isSmall = meta.size <= smallBytes;
      const end = await readWindow(
        file,
        isSmall ? 0 : meta.size - (isLazy ? endBytes : smallBytes),
        meta.size,
      );
      const { seed, footer } = await readEnds(file, end, meta, dbUuid, dataFrom);
      const window = isLazy ? end : await widened(file, end, footer);
      table = new TableFile(meta, file, window, { seed, footer, problems }, onDamage);
      const opened = await read(table, isSmall || !isLazy);
      table.#window = undefined;
      return opened;
    } catch (error) {
      if (table !== undefined) table.#end();
      await file.close();
      throw error;
    }
  }

  /** Somebody still reads it. */
  get held(): boolean {
    return this.#holders > 0;
  }

  retain(): void {
    assert(this.#holders > 0, 'a closed table is not retained');
    this.#holders++;
  }

  /** Closes the file with the last holder; `closed` tells when. */
  release(): void {
    assert(this.#holders > 0, 'a table is released once per holder');
    this.#holders--;
    if (this.#holders > 0) return;
    this.#end();
    this.#closed = this.#file.close();
    // Reported by `closed`; a view's release has nobody to tell.
    this.#closed.catch(() => undefined);
  }

  /** Resolves once the file is closed, at once while somebody holds it. VARVE_IO when closing fails. */
  async closed(): Promise<void> {
    await this.#closed;
  }

  /** Reads `buf.length` bytes at `offset`. */
  read(buf: Uint8Array, offset: number): Promise<void> {
    return readExact(this.#file, buf, offset);
  }

  readSync(buf: Uint8Array, offset: number): void {
    readExactSync(this.#file, buf, offset);
  }

  /** Reads and checks a block with trailer; `length` is without padding and was bounded by the caller. */
  async block(offset: number, length: number): Promise<Uint8Array> {
    const buf = new Uint8Array(align8(length));
    await readThrough(this.#file, this.#window, buf, offset);
    return openBlock(buf, length, this.seed, offset, this.path);
  }

  blockSync(offset: number, length: number): Uint8Array {
    const buf = new Uint8Array(align8(length));
    readExactSync(this.#file, buf, offset);
    return openBlock(buf, length, this.seed, offset, this.path);
  }

  place(offset: number): Place {
    return { file: this.path, offset };
  }

  /** The properties block, checked against footer and catalog. */
  async props(meta: CatalogTable): Promise<TableProps> {
    const { propsOff, propsLen } = this.footer;
    const raw = await this.block(propsOff, propsLen);
    return decodeTableProps(raw, this.footer, meta.tree, meta.level, this.place(propsOff));
  }

  /** Damage that costs no row. */
  note(error: VarveError): void {
    this.problems.push(error);
    if (this.#window === undefined) this.#onDamage?.(error);
  }

  /** `give` is called once nobody holds the table any more. */
  onClose(give: () => void): void {
    this.#closing.push(give);
  }

  /** Idempotent. */
  #end(): void {
    for (const give of this.#closing.splice(0)) give();
  }
}

interface TableEnds {
  readonly seed: FileSeed;
  readonly footer: TableFooter;
  readonly problems: VarveError[];
}

/** The table ends where the catalog says; bytes behind it are a problem and no more. */
async function checkSize(file: FsFile, { size }: CatalogTable, dataFrom: number): Promise<VarveError[]> {
  const place: Place = { file: file.path };
  const there = await file.size();
  if (there < size) throw corrupt('table is cut off', { ...place, offset: there }, size, there);
  if (size < dataFrom + tableFooter.size || size >= tableBytesMax)
    throw corrupt('table has an impossible size', place);
  if (there === size) return [];
  return [corrupt('bytes behind the end of the table', { ...place, offset: size }, size, there)];
}

/** Undefined when the disk does not give all of it: each part is then read alone. */
async function readWindow(file: FsFile, from: number, to: number): Promise<Window | undefined> {
  const bytes = new Uint8Array(to - from);
  try {
    await readExact(file, bytes, from);
    return { from, bytes };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

/** The window with all that lies behind the rows, unless that is very much. `footer` was checked. */
async function widened(
  file: FsFile,
  window: Window | undefined,
  { filterOff }: TableFooter,
): Promise<Window | undefined> {
  if (window === undefined || filterOff >= window.from || window.from - filterOff > widenBytesMax)
    return window;
  const before = await readWindow(file, filterOff, window.from);
  if (before === undefined) return window;
  return { from: filterOff, bytes: concatBytes([before.bytes, window.bytes]) };
}

/** Fills `buf` from the window where it has all of that, else from the file. */
async function readThrough(
  file: FsFile,
  window: Window | undefined,
  buf: Uint8Array,
  offset: number,
): Promise<void> {
  const at = window === undefined ? -1 : offset - window.from;
  if (window === undefined || at < 0 || at + buf.length > window.bytes.length) {
    await readExact(file, buf, offset);
  } else buf.set(window.bytes.subarray(at, at + buf.length));
}

/** Header and footer, checked against each other and the catalog. */
async function readEnds(
  file: FsFile,
  window: Window | undefined,
  meta: CatalogTable,
  dbUuid: Uint8Array,
  dataFrom: number,
): Promise<Omit<TableEnds, 'problems'>> {
  const { size } = meta;
  const head = new Uint8Array(dataFrom);
  await readThrough(file, window, head, 0);
  const header = decodeFileHeader(head, { kind: 'table', fileNo: meta.no, dbUuid }, file.path);
  if (header.subKind !== meta.tree) {
    throw corrupt('table of another tree', { file: file.path, offset: 11 }, meta.tree, header.subKind);
  }
  if (!isZero(head, fileHeader.size)) {
    throw corrupt('padding after the header is not zero', { file: file.path, offset: fileHeader.size });
  }
  const tail = new Uint8Array(tableFooter.size);
  const offset = size - tail.length;
  await readThrough(file, window, tail, offset);
  const footer = decodeTableFooter(tail, header.seed, dataFrom, size, file.path);
  const same =
    footer.entries === meta.entries &&
    footer.minSeq === meta.minSeq &&
    footer.maxSeq === meta.maxSeq &&
    footer.fileChecksum === meta.checksum;
  if (!same) throw corrupt('table is not the one the catalog names', { file: file.path, offset });
  return { seed: header.seed, footer };
}
