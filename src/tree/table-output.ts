/**
 * Writes one table file front to back through a buffer, and proves it afterwards by reading it again.
 *
 * Invariants
 * - A table is durable, name included, and was read back whole before its writer says so ("a table that does
 *   not read back as written is deleted").
 * - Memory is the buffer, whatever the size of the table.
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { corrupt } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { type FileSeed, StreamingChecksum } from '../codec/checksum.ts';
import { type CheckedHeader, decodeFileHeader, encodeFileHeader, fileHeader } from '../format/file-header.ts';
import { fileDir, filePath } from '../format/file-names.ts';
import {
  decodeTableFooter,
  encodeTableFooter,
  filterPartitionBytes,
  sealBlock,
  sealedBytes,
  type TableFooter,
  tableBytesMax,
  tableFooter,
} from '../format/table.ts';
import { createFile, readExact } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import type { BloomFilter } from './bloom.ts';
import type { MergeSlice } from './merge-slice.ts';

/**
 * Each write is a wait for the event loop, which others keep busy: few of them, so that a flush ends soon.
 */
const bufferBytes = MiB;
/** What the buffer starts with: most tables of a small store are small. */
const firstBufferBytes = 8 * KiB;
const verifyBytes = MiB;

/** Memory for writing one table after the other, as a merge does: kept from each for the next. */
export class TableScratch {
  /** Filled and written; grows to `bufferBytes`. */
  buffer: Uint8Array = new Uint8Array(firstBufferBytes);
  /** Reads tables back. */
  proof: Uint8Array = new Uint8Array(0);
  /** Hashes of rows. */
  words: Uint32Array = new Uint32Array(1024);
}

/** Identity of a table about to be written. */
export interface TableIdentity {
  no: FileNo;
  tree: number;
  level: number;
  dbUuid: Uint8Array;
  /** 12 random bytes. */
  salt: Uint8Array;
  /** Of one writer at a time. Memory of its own when left out. */
  scratch?: TableScratch;
  /** How the thread is shared while the filter is made; kept until all is written when left out. */
  slice?: MergeSlice;
}

/** An open table file under construction. */
export class TableOutput {
  readonly seed: FileSeed;
  readonly path: string;
  readonly #fs: FsPort;
  readonly #file: FsFile;
  readonly #identity: TableIdentity;
  readonly #checksum = new StreamingChecksum();
  readonly #scratch: TableScratch;
  #buffered = 0;
  /** Bytes of the buffer that are in the checksum. */
  #summed = 0;
  #written = 0;

  private constructor(fs: FsPort, file: FsFile, identity: TableIdentity, header: CheckedHeader) {
    this.#fs = fs;
    this.#file = file;
    this.#identity = identity;
    this.#scratch = identity.scratch ?? new TableScratch();
    this.seed = header.seed;
    this.path = file.path;
  }

  /**
   * Makes the file (VARVE_IO with errno EEXIST where one is) in a durable directory, lets `fill` write it and
   * return the footer, and proves the result. Resolves with its size and checksum once bytes and name are
   * durable. On any failure the file is deleted and the error passed on.
   */
  static async write(
    fs: FsPort,
    identity: TableIdentity,
    fill: (out: TableOutput) => Promise<Omit<TableFooter, 'fileChecksum'>>,
  ): Promise<{ size: number; checksum: bigint }> {
    const { no, tree, dbUuid, salt } = identity;
    const header = encodeFileHeader({ kind: 'table', subKind: tree, fileNo: no, dbUuid, salt });
    const path = filePath('tab', no);
    const checked = decodeFileHeader(header, { kind: 'table', fileNo: no, dbUuid }, path);
    const file = await createFile(fs, path);
    try {
      const out = new TableOutput(fs, file, identity, checked);
      const footer = await closing(file, async () => {
        await out.append(header);
        return await out.#finish(await fill(out));
      });
      await out.#prove(footer);
      await fs.syncDir(fileDir('tab', no));
      return { size: out.pos, checksum: footer.fileChecksum };
    } catch (error) {
      await discardTable(fs, path);
      throw error;
    }
  }

  /** Offset at which the next byte goes. */
  get pos(): number {
    return this.#written + this.#buffered;
  }

  /** Appends bytes (copied). */
  async append(bytes: Uint8Array): Promise<void> {
    let from = 0;
    while (from < bytes.length) {
      const n = Math.min(bytes.length - from, bufferBytes - this.#buffered);
      this.#reserve(this.#buffered + n);
      this.#scratch.buffer.set(bytes.subarray(from, from + n), this.#buffered);
      this.#buffered += n;
      from += n;
      if (this.#buffered === bufferBytes) await this.#flush();
    }
  }

  /** Seals buf[0..rawLen) in place (with room behind it) and appends it. Returns its length with trailer. */
  async appendBlock(buf: Uint8Array, rawLen: number): Promise<void> {
    const end = sealBlock(buf, 0, rawLen, this.seed, this.pos);
    await this.append(buf.subarray(0, end));
  }

  /** Same for bytes without room behind them (copied once more). */
  async appendSmallBlock(raw: Uint8Array): Promise<void> {
    const buf = new Uint8Array(sealedBytes(raw.length));
    buf.set(raw);
    await this.appendBlock(buf, raw.length);
  }

  /** Appends the partitions of a filter; returns the bytes they take. */
  async appendFilter(filter: BloomFilter): Promise<number> {
    const start = this.pos;
    const buf = new Uint8Array(sealedBytes(filterPartitionBytes));
    for (let from = 0; from < filter.bytes; from += filterPartitionBytes) {
      const n = Math.min(filterPartitionBytes, filter.bytes - from);
      filter.save(buf.subarray(0, n), from);
      await this.appendBlock(buf, n);
    }
    return this.pos - start;
  }

  /** The checksum covers all before the footer, which goes out with the last of it. */
  async #finish(values: Omit<TableFooter, 'fileChecksum'>): Promise<TableFooter> {
    if (this.#buffered + tableFooter.size > bufferBytes) await this.#flush();
    this.#sum();
    const footer = { ...values, fileChecksum: this.#checksum.digest() };
    await this.append(encodeTableFooter(footer, this.seed));
    await this.#flush();
    await this.#file.sync();
    return footer;
  }

  /** Room for `needed` bytes, `bufferBytes` at most. */
  #reserve(needed: number): void {
    const { buffer } = this.#scratch;
    if (needed <= buffer.length) return;
    const grown = new Uint8Array(Math.min(bufferBytes, Math.max(needed, buffer.length * 4)));
    grown.set(buffer.subarray(0, this.#buffered));
    this.#scratch.buffer = grown;
  }

  async #flush(): Promise<void> {
    if (this.#buffered === 0) return;
    assert(this.pos < tableBytesMax, 'a table stays below its bound');
    this.#sum();
    await this.#file.write(this.#scratch.buffer.subarray(0, this.#buffered), this.#written);
    this.#written += this.#buffered;
    this.#buffered = 0;
    this.#summed = 0;
  }

  /** Takes what the buffer holds into the checksum, once. */
  #sum(): void {
    this.#checksum.update(this.#scratch.buffer.subarray(this.#summed, this.#buffered));
    this.#summed = this.#buffered;
  }

  /** Opens the file anew and compares header, footer and every byte with what was written. */
  async #prove(written: TableFooter): Promise<void> {
    const file = await this.#fs.open(this.path, 'read');
    await closing(file, async () => {
      const size = await file.size();
      const place = { file: this.path };
      if (size !== this.pos) throw corrupt('table reads back with another size', place, this.pos, size);
      const length = Math.min(size, verifyBytes);
      const scratch = this.#scratch;
      if (scratch.proof.length < length) scratch.proof = new Uint8Array(length);
      const first = scratch.proof.subarray(0, length);
      await readExact(file, first, 0);
      const { no, dbUuid, tree } = this.#identity;
      const header = decodeFileHeader(
        first.subarray(0, fileHeader.size),
        { kind: 'table', fileNo: no, dbUuid },
        this.path,
      );
      if (header.subKind !== tree)
        throw corrupt('table reads back as another tree', place, tree, header.subKind);
      const tail = new Uint8Array(tableFooter.size);
      const end = size - tail.length;
      if (size === first.length) tail.set(first.subarray(end));
      else await readExact(file, tail, end);
      const dataFrom = written.filterOff - written.dataLen;
      const footer = decodeTableFooter(tail, header.seed, dataFrom, size, this.path);
      const sum = await checksumOf(file, first, end);
      if (sum !== written.fileChecksum || footer.fileChecksum !== sum) {
        throw corrupt('table reads back with other bytes', place, written.fileChecksum, sum);
      }
      if (footer.entries !== written.entries) {
        throw corrupt('table reads back with other entries', place, written.entries, footer.entries);
      }
    });
  }
}

/**
 * xxh64 of the first `length` bytes of a file, which begins with `first`; that buffer is used for the rest.
 */
async function checksumOf(file: FsFile, first: Uint8Array, length: number): Promise<bigint> {
  const checksum = new StreamingChecksum();
  checksum.update(first.subarray(0, length));
  for (let pos = first.length; pos < length; pos += first.length) {
    const piece = first.subarray(0, Math.min(first.length, length - pos));
    await readExact(file, piece, pos);
    checksum.update(piece);
  }
  return checksum.digest();
}

/** Runs `task` and closes `file` after it, whatever the outcome. */
async function closing<T>(file: FsFile, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } finally {
    await file.close();
  }
}

/**
 * Deletes a table that failed. The caller is about to throw why it failed, which matters more than a file
 * left behind: no catalog names it, and the next open removes what no catalog names.
 */
export async function discardTable(fs: FsPort, path: string): Promise<void> {
  await fs.unlink(path).then(
    () => undefined,
    () => undefined,
  );
}
