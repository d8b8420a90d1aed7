/** Writes entries of the chunk tree to an immutable table of fixed blocks. */
import { assert } from '../base/assert.ts';
import { viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  chunkBitsHash,
  chunkBlockBytes,
  chunkBlockEntries,
  chunkBucketHash,
  chunkEntryAt,
  chunkEntryFlags,
  chunkIdPrefix,
  compareChunkIds,
  sealChunkBlock,
} from '../format/chunk-table.ts';
import { blockTrailer, encodeTableProps, filterPartitionBytes, type TableFooter } from '../format/table.ts';
import { trees } from '../format/trees.ts';
import type { FsPort } from '../fs/port.ts';
import { BloomFilter, bucketsFor } from './bloom.ts';
import type { ChunkCursor } from './chunk-cursor.ts';
import { MISS, OK } from './cursor.ts';
import { type TableIdentity, TableOutput } from './table-output.ts';

const filterBitsPerKey = 14;

/** What to write. */
export interface ChunkTableInput extends Omit<TableIdentity, 'tree'> {
  /** At least one entry, ids ascending. */
  entries: ChunkCursor;
  /** Upper bound of their number: sizes the filter. */
  entriesMax: number;
  minSeq: number;
  maxSeq: number;
}

/**
 * Writes a chunk table and proves it by reading it back; durable, name included, when it resolves. Memory: a
 * write buffer, the filter (14 bits per entry) and 4 B per block. On failure the file is deleted:
 * VARVE_NO_SPACE, VARVE_IO, VARVE_CORRUPT when it reads back differently or entries are out of order.
 */
export async function writeChunkTable(fs: FsPort, input: ChunkTableInput): Promise<CatalogTable> {
  const { no, level, minSeq, maxSeq } = input;
  const writer = new EntriesWriter(input);
  const { dbUuid, salt, scratch } = input;
  const identity = { no, level, tree: trees.C, dbUuid, salt, ...(scratch === undefined ? {} : { scratch }) };
  const { size, checksum } = await TableOutput.write(fs, identity, (out) => writer.write(out));
  const { entries, minKey, maxKey } = writer;
  return { tree: trees.C, level, no, size, entries, minKey, maxKey, minSeq, maxSeq, checksum };
}

/** State of one run. */
class EntriesWriter {
  entries = 0;
  readonly minKey: Uint8Array = new Uint8Array(chunkIdBytes);
  readonly maxKey: Uint8Array = new Uint8Array(chunkIdBytes);
  readonly #input: ChunkTableInput;
  readonly #filter: BloomFilter;
  readonly #prefixes = new ByteWriter(4096);
  readonly #block = new Uint8Array(chunkBlockBytes);
  readonly #view = viewOf(this.#block);
  #inBlock = 0;
  #blocks = 0;
  #dropped = 0;
  #sumRefs = 0;

  constructor(input: ChunkTableInput) {
    this.#input = input;
    this.#filter = new BloomFilter(bucketsFor(input.entriesMax, filterBitsPerKey));
  }

  async write(out: TableOutput): Promise<Omit<TableFooter, 'fileChecksum'>> {
    const { entries } = this.#input;
    await out.append(new Uint8Array(chunkBlockBytes - out.pos));
    for (;;) {
      const step = entries.next();
      if (step === MISS) {
        await entries.load();
        continue;
      }
      if (step !== OK) break;
      this.#add(entries, out);
      if (this.#inBlock === chunkBlockEntries) await this.#closeBlock(out);
    }
    assert(this.entries > 0, 'a table has entries');
    if (this.#inBlock > 0) await this.#closeBlock(out);
    return await this.#finish(out);
  }

  #add(cursor: ChunkCursor, out: TableOutput): void {
    const { idBytes, idAt, columns } = cursor;
    if (this.entries === 0) this.minKey.set(idBytes.subarray(idAt, idAt + chunkIdBytes));
    else if (compareChunkIds(this.maxKey, 0, idBytes, idAt) >= 0) {
      throw corrupt('chunk entries to be written are out of order', { file: out.path, offset: out.pos });
    }
    for (let i = 0; i < chunkIdBytes; i++) this.maxKey[i] = idBytes[idAt + i]!;
    if (this.#inBlock === 0) this.#prefixes.u32(chunkIdPrefix(idBytes, idAt));
    columns.write(this.#view, chunkEntryAt(this.#inBlock), idBytes, idAt);
    this.#filter.addPair(chunkBucketHash(idBytes, idAt), chunkBitsHash(idBytes, idAt));
    this.#inBlock++;
    this.entries++;
    this.#sumRefs += columns.refs;
    if ((columns.flags & chunkEntryFlags.dropped) !== 0) this.#dropped++;
  }

  async #closeBlock(out: TableOutput): Promise<void> {
    sealChunkBlock(this.#block, 0, this.#inBlock, out.seed, out.pos);
    await out.append(this.#block);
    this.#blocks++;
    this.#inBlock = 0;
  }

  async #finish(out: TableOutput): Promise<Omit<TableFooter, 'fileChecksum'>> {
    const { level, minSeq, maxSeq } = this.#input;
    const filterOff = out.pos;
    const filterLen = await out.appendFilter(this.#filter);
    const topIndexOff = out.pos;
    await out.appendSmallBlock(this.#prefixes.written());
    const propsOff = out.pos;
    const props = encodeTableProps({
      tree: trees.C,
      level,
      keyHashVersion: 0,
      restartInterval: chunkBlockEntries,
      blockBytes: chunkBlockBytes,
      filterPartitionBytes,
      filterBuckets: this.#filter.buckets,
      indexPartitions: 0,
      indexOff: topIndexOff,
    });
    await out.appendSmallBlock(props);
    return {
      topIndexOff,
      topIndexLen: this.#prefixes.pos + blockTrailer.size,
      dataBlocks: this.#blocks,
      filterOff,
      filterLen,
      filterBitsX16: filterBitsPerKey * 16,
      propsOff,
      propsLen: props.length + blockTrailer.size,
      tombstones: this.#dropped,
      entries: this.entries,
      minSeq,
      maxSeq,
      dataLen: filterOff - chunkBlockBytes,
      sumRefs: this.#sumRefs,
    };
  }
}
