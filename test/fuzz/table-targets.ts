/** Targets: the parts of a table of an ordered tree. */
import { align8 } from '../../src/base/bytes.ts';
import type { Prng } from '../../src/base/prng.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import {
  ChunkColumns,
  checkChunkBlock,
  chunkBlockBytes,
  chunkBlockCount,
  chunkEntryAt,
  sealChunkBlock,
} from '../../src/format/chunk-table.ts';
import {
  checkDataBlock,
  DataBlockBuilder,
  EntrySpot,
  entriesEnd,
  searchDataBlock,
} from '../../src/format/data-block.ts';
import {
  blockTrailer,
  decodeTableFooter,
  decodeTableProps,
  encodeTableFooter,
  encodeTableProps,
  filterPartitionBytes,
  filterRegionBytes,
  openBlock,
  sealBlock,
  sealedBytes,
  type TableFooter,
  tableFooter,
  tableProps,
} from '../../src/format/table.ts';
import { decodeTopIndex, encodeTopIndex, type IndexEntry, TableIndex } from '../../src/format/table-index.ts';
import { BloomFilter, bucketBytes, bucketOf, FilterWords, remix } from '../../src/tree/bloom.ts';
import { sameBytes, sameValue, type Target } from './target.ts';

const file = 'fuzzed';
const place = { file, offset: 0 };
const seed = new FileSeed(Uint8Array.from({ length: 12 }, (_, i) => i + 1));
const offset = 64;

const block: Target = {
  name: 'block trailer',
  sample(prng) {
    const raw = prng.bytes(prng.below(100));
    const bytes = new Uint8Array(sealedBytes(raw.length));
    bytes.set(raw);
    sealBlock(bytes, 0, raw.length, seed, offset);
    sameBytes(openBlock(bytes, raw.length + blockTrailer.size, seed, offset, file), raw);
    return Uint8Array.of(...bytes, raw.length % 8);
  },
  /** The last byte says how much of the padding is padding. */
  run(bytes) {
    const { buf, length } = blockIn(bytes);
    const raw = openBlock(buf, length, seed, offset, file);
    const again = new Uint8Array(sealedBytes(raw.length));
    again.set(raw);
    sealBlock(again, 0, raw.length, seed, offset);
    sameBytes(buf, again);
  },
  reseal(bytes) {
    const { buf, length } = blockIn(bytes);
    if (length < blockTrailer.size || length > buf.length) return;
    writeChecksum(buf, length - 8, 0, length - 8, seed.at(offset));
  },
};

function blockIn(bytes: Uint8Array): { buf: Uint8Array; length: number } {
  const buf = bytes.subarray(0, Math.max(0, bytes.length - 1));
  const rest = (bytes.at(-1) ?? 0) % 8;
  return { buf, length: buf.length - (rest === 0 ? 0 : 8 - rest) };
}

interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

function buildBlock(rows: readonly Row[]): Uint8Array {
  const builder = new DataBlockBuilder();
  for (const { key, value } of rows) {
    const shared = builder.sharedWithLast(key, 0, key.length);
    builder.add(key, 0, key.length, value, 0, value.length, shared);
  }
  const { bytes, length } = builder.finish(0);
  return bytes.slice(0, length);
}

function rowsOf(raw: Uint8Array): Row[] {
  const rows: Row[] = [];
  const spot = new EntrySpot();
  let last: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < entriesEnd(raw); at = spot.valueTo) {
    spot.read(raw, at);
    const key = new Uint8Array(spot.keyBytes);
    key.set(last.subarray(0, spot.shared));
    key.set(raw.subarray(spot.suffixFrom, spot.suffixTo), spot.shared);
    rows.push({ key, value: raw.slice(spot.valueFrom, spot.valueTo) });
    last = key;
  }
  return rows;
}

const dataBlock: Target = {
  name: 'data block',
  sample(prng) {
    const rows: Row[] = [];
    const count = 1 + prng.below(40);
    for (let i = 0; i < count; i++) {
      const key = prng.bytes(9 + prng.below(20));
      key[0] = Math.floor(i / 9);
      key[1] = i;
      rows.push({ key, value: prng.bytes(prng.below(30)) });
    }
    const raw = buildBlock(rows);
    checkDataBlock(raw, count, place);
    sameValue(rowsOf(raw), rows);
    return Uint8Array.of(count, ...raw);
  },
  /** The first byte is the number of entries the index gives. */
  run(bytes) {
    const raw = bytes.slice(1);
    const entries = bytes[0] ?? 1;
    if (entries === 0) return;
    checkDataBlock(raw, entries, place);
    const rows = rowsOf(raw);
    if (rows.length !== entries) throw new Error('a block with another number of entries was accepted');
    const spot = new EntrySpot();
    for (const { key } of rows) searchDataBlock(raw, key, key.length, spot);
    // Prefixes may be shorter than they could be: what is stable are the rows.
    sameValue(rowsOf(buildBlock(rows)), rows);
  },
};

function randomEntries(prng: Prng): IndexEntry[] {
  let end = offset;
  return Array.from({ length: 1 + prng.below(5) }, (_, i) => {
    const length = 16 + prng.below(9000);
    const entry = {
      separator: i === 0 ? new Uint8Array(0) : Uint8Array.of(i, ...prng.bytes(prng.below(9))),
      offset: end,
      length,
      rows: 1 + prng.below(100),
      maxSeq: prng.u32(),
      tombstones: prng.below(100),
    };
    end = align8(end + length);
    return entry;
  });
}

const index: Target = {
  name: 'table index',
  sample(prng) {
    const entries = randomEntries(prng);
    const bytes = encodeTopIndex(entries);
    const last = entries.at(-1)!;
    sameValue(
      decodeTopIndex(bytes, entries.length, offset, align8(last.offset + last.length), place),
      entries,
    );
    return Uint8Array.of(entries.length, ...bytes);
  },
  /** The first byte is the number of entries; the same bytes are read as top index and as a partition. */
  run(bytes) {
    const raw = bytes.slice(1);
    const rows = bytes[0] ?? 1;
    const whole = new TableIndex(rows, offset);
    whole.addPartition(raw, { rows }, place);
    if (rows === 0) return;
    whole.find(raw, raw.length);
    const to = align8(whole.offsetOf(rows - 1) + whole.lengthOf(rows - 1));
    sameBytes(raw, encodeTopIndex(decodeTopIndex(raw, rows, offset, to, place)));
  },
};

function randomFooter(prng: Prng): TableFooter {
  const dataLen = 8 * (1 + prng.below(9999));
  const filterLen = filterRegionBytes(bucketBytes * prng.below(9000));
  const topIndexOff = offset + dataLen + filterLen + 8 * prng.below(99);
  const topIndexLen = 16 + prng.below(500);
  const dataBlocks = 1 + prng.below(50);
  const minSeq = prng.u32();
  return {
    topIndexOff,
    topIndexLen,
    dataBlocks,
    filterOff: offset + dataLen,
    filterLen,
    filterBitsX16: prng.u32(),
    propsOff: align8(topIndexOff + topIndexLen),
    propsLen: tableProps.size + blockTrailer.size,
    tombstones: prng.u32(),
    entries: dataBlocks + prng.u32(),
    minSeq,
    maxSeq: minSeq + prng.below(9),
    dataLen,
    sumRefs: prng.u32() - 2 ** 31,
    fileChecksum: BigInt(prng.u32()),
  };
}

const footerTarget: Target = {
  name: 'table footer',
  sample(prng) {
    const fields = randomFooter(prng);
    const bytes = encodeTableFooter(fields, seed);
    const {
      checksum: _,
      magic: __,
      ...decoded
    } = decodeTableFooter(bytes, seed, offset, sizeOf(bytes), file) as TableFooter & {
      checksum: bigint;
      magic: Uint8Array;
    };
    sameValue(decoded, fields);
    return bytes;
  },
  run(bytes) {
    const decoded = decodeTableFooter(bytes, seed, offset, sizeOf(bytes), file);
    sameBytes(bytes, encodeTableFooter(decoded, seed));
  },
  reseal(bytes) {
    if (bytes.length !== tableFooter.size) return;
    writeChecksum(bytes, tableFooter.at.checksum, 0, tableFooter.at.checksum, seed.base);
  },
};

/** Size of the file whose last region is the properties block. */
function sizeOf(bytes: Uint8Array): number {
  if (bytes.length < tableFooter.size) return tableFooter.size;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const propsOff = view.getUint32(tableFooter.at.propsOff, true);
  const propsLen = view.getUint32(tableFooter.at.propsLen, true);
  return align8(propsOff + propsLen) + tableFooter.size;
}

const props: Target = {
  name: 'table properties',
  sample(prng) {
    const bytes = encodeTableProps({
      tree: 1,
      level: 0,
      keyHashVersion: prng.below(9),
      restartInterval: prng.u32(),
      blockBytes: prng.u32(),
      filterPartitionBytes,
      filterBuckets: prng.below(5000),
      indexPartitions: prng.u32(),
      indexOff: 4096,
    });
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const buckets = bytes.length < 20 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(16, true);
    const filterLen = filterRegionBytes(buckets * bucketBytes);
    const footer = { filterOff: 4096 - filterLen, filterLen, topIndexOff: 8192 } as TableFooter;
    const decoded = decodeTableProps(bytes, footer, 1, 0, place);
    sameBytes(bytes.subarray(0, tableProps.size), encodeTableProps(decoded));
  },
};

const filter: Target = {
  name: 'filter',
  sample(prng) {
    const one = new BloomFilter(1 + prng.below(8));
    const hashes = Array.from({ length: 10 }, () => prng.u32());
    for (const hash of hashes) one.addHash(hash);
    const bytes = new Uint8Array(one.bytes);
    one.save(bytes, 0);
    const again = FilterWords.from(bytes);
    if (!hashes.every((hash) => again.has(bucketOf(hash, one.buckets), remix(hash))))
      throw new Error('a filter lost a key');
    return bytes;
  },
  run(bytes) {
    const buckets = Math.floor(bytes.length / bucketBytes);
    if (buckets === 0) return;
    const exact = bytes.slice(0, buckets * bucketBytes);
    const words = FilterWords.from(exact);
    if (words.bytes !== exact.length) throw new Error('a filter has other bytes than its piece');
    for (let hash = 0; hash < 8; hash++) words.has(bucketOf(hash * 0x20000001, buckets), remix(hash));
  },
};

const chunkBlock: Target = {
  name: 'chunk block',
  sample(prng) {
    const count = 1 + prng.below(5);
    const block = new Uint8Array(chunkBlockBytes);
    const columns = new ChunkColumns();
    for (let i = 0; i < count; i++) {
      const id = prng.bytes(32);
      id[0] = i * 40;
      Object.assign(columns, {
        segment: prng.u32(),
        off8: prng.u32(),
        storedLen: prng.u32(),
        rawLen: prng.u32(),
      });
      Object.assign(columns, {
        refs: prng.u32() | 0,
        kind: prng.below(3),
        codec: prng.below(16),
        flags: prng.below(8),
      });
      columns.write(new DataView(block.buffer), chunkEntryAt(i), id, 0);
    }
    sealChunkBlock(block, 0, count, seed, 4096);
    this.run(block);
    return block;
  },
  run(bytes) {
    const count = bytes.length === chunkBlockBytes ? Math.min(72, chunkBlockCount(bytes)) : 1;
    checkChunkBlock(bytes, count, seed, 4096, file);
    const again = new Uint8Array(chunkBlockBytes);
    const columns = new ChunkColumns();
    for (let i = 0; i < count; i++) {
      columns.read(bytes, chunkEntryAt(i));
      columns.write(new DataView(again.buffer), chunkEntryAt(i), bytes, chunkEntryAt(i));
    }
    sealChunkBlock(again, 0, count, seed, 4096);
    sameBytes(bytes, again);
  },
  reseal(bytes) {
    if (bytes.length === chunkBlockBytes) writeChecksum(bytes, 0, 8, chunkBlockBytes, seed.at(4096));
  },
};

export const tableTargets: readonly Target[] = [
  chunkBlock,
  block,
  dataBlock,
  index,
  footerTarget,
  props,
  filter,
];
