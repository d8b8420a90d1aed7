/**
 * Table files: immutable sorted files of one tree, and everything in them but the entries themselves.
 *
 *   header 64 | data blocks | filter partitions | index | top index | properties | footer 128
 *
 * Every block but a chunk block is followed by a 16-byte trailer and zero bytes up to the next multiple of
 * 8. A block's length as stored elsewhere is that of its bytes and the trailer, without that padding.
 * Regions follow each other without a gap, so that no byte of the file is outside a check.
 */
import { align8, equalBytes, isZero } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { GiB, KiB } from '../base/limits.ts';
import { checksumMatches, type FileSeed, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, type Values } from '../codec/layout.ts';
import { codecs } from './chunk-ref.ts';
import { fileHeader } from './file-header.ts';

/** A table never reaches this many bytes: offsets divided by 8 stay below 2^28 (see cache/block-cache.ts). */
export const tableBytesMax = 2 * GiB;
/** A data block is closed once its entries reach this many bytes (trees K and S; tree X). */
export const dataBlockBytesTarget = 8 * KiB;
export const indexDataBlockBytesTarget = 4 * KiB;
/** Longest data block or index partition a reader accepts: a few of the largest possible entries. */
export const dataBlockBytesMax = 1024 * KiB;
/** An index partition is closed once it reaches this many bytes. */
export const indexPartitionBytesTarget = 16 * KiB;
/** Bytes of one filter partition; the last one of a table is shorter. A multiple of 32. */
export const filterPartitionBytes = 64 * KiB;

export const blockTrailer = defineLayout('blocktrailer', 'block trailer', 16, {
  codec: f(0, 'u8', 'codec of the stored bytes; this build writes and reads 0 = raw'),
  cipher: f(1, 'u8', '0 = plaintext; anything else is refused'),
  reserved: f(2, 'u16', 'zero'),
  rawLen: f(4, 'u32', 'bytes of the block when decoded. guards: length differing from the index entry'),
  checksum: f(
    8,
    'hash64',
    'xxh64(S xor block offset; stored bytes, trailer bytes 0..7). guards: misdirected reads',
  ),
});

export const tableFooter = defineLayout('tabfooter', 'table footer', 128, {
  topIndexOff: f(0, 'u64', 'K, X, S: block of the index partitions; C: block of the block prefixes'),
  topIndexLen: f(8, 'u32', 'its length with trailer'),
  dataBlocks: f(12, 'u32', 'number of data blocks'),
  filterOff: f(16, 'u64', 'first filter partition; the end of the data'),
  filterLen: f(24, 'u32', 'bytes of all filter partitions with trailers and padding; 0 = no filter'),
  filterBitsX16: f(28, 'u32', 'filter bits per key it was sized for, times 16'),
  propsOff: f(32, 'u64', 'properties block'),
  propsLen: f(40, 'u32', 'its length with trailer'),
  tombstones: f(44, 'u32', 'rows that are not PUT (K, X, S); DROPPED entries (C)'),
  entries: f(48, 'u64', 'rows of the table. guards: a table losing rows between writer and reader'),
  minSeq: f(56, 'u64', 'lowest sequence number of a row'),
  maxSeq: f(64, 'u64', 'highest sequence number of a row: newer tables are looked up first'),
  dataLen: f(72, 'u64', 'bytes of the data blocks, from the first to the end of the last'),
  sumRefs: f(80, 'i64', 'C only: sum of the refs column. guards: counts lost by a merge'),
  fileChecksum: f(
    88,
    'hash64',
    'xxh64(0; file bytes 0 up to the footer); the catalog repeats it. guards: swapped file',
  ),
  reserved: f(96, 16, 'zero'),
  checksum: f(112, 'hash64', 'xxh64(S; footer bytes 0..111)'),
  magic: f(120, 8, "'VRTABEND'. guards: cut off file"),
});

export const tableProps = defineLayout('tabprops', 'table properties', 64, {
  tree: f(0, 'u8', 'tree number; repeats the sub kind of the file header'),
  level: f(1, 'u8', '0 = flushed from a memtable'),
  keyHashVersion: f(2, 'u16', 'hash of the filter keys; C: 0, the ids are their own hash'),
  restartInterval: f(4, 'u32', 'entries between restart points; C: entries in a full block'),
  blockBytes: f(8, 'u32', 'target size of a data block'),
  filterPartitionBytes: f(12, 'u32', 'bytes of a full filter partition without trailer'),
  filterBuckets: f(16, 'u32', '32-byte buckets of the filter'),
  indexPartitions: f(20, 'u32', 'number of index partitions; C: 0'),
  indexOff: f(24, 'u64', 'first index partition; the end of the filter'),
  reserved: f(32, 32, 'zero'),
});

/** Values of the footer but for its checksum and magic. */
export type TableFooter = Omit<Values<typeof tableFooter.fields>, 'checksum' | 'magic'>;
/** Values of the properties block. */
export type TableProps = Values<typeof tableProps.fields>;

const footerMagic = Uint8Array.from('VRTABEND', (c) => c.charCodeAt(0));

/** Encodes the footer; `seed` is the seed of the file. */
export function encodeTableFooter(footer: TableFooter, seed: FileSeed): Uint8Array {
  const out = new Uint8Array(tableFooter.size);
  encodeLayout(tableFooter, { ...footer, checksum: 0n, magic: footerMagic }, out);
  writeChecksum(out, tableFooter.at.checksum, 0, tableFooter.at.checksum, seed.base);
  return out;
}

/**
 * Decodes and checks the footer of a table of `fileBytes` bytes (at least header and footer). VARVE_CORRUPT
 * when magic or checksum are wrong or a region does not lie where the others leave it.
 */
export function decodeTableFooter(
  bytes: Uint8Array,
  seed: FileSeed,
  dataFrom: number,
  fileBytes: number,
  file: string,
): TableFooter {
  const offset = fileBytes - tableFooter.size;
  const place: Place = { file, offset };
  if (bytes.length !== tableFooter.size) throw corrupt('table footer is cut off', place);
  const magic = bytes.subarray(tableFooter.at.magic);
  if (!equalBytes(magic, footerMagic))
    throw corrupt('wrong magic at the end of the table', place, footerMagic, magic);
  if (!checksumMatches(bytes, tableFooter.at.checksum, 0, tableFooter.at.checksum, seed.base)) {
    throw corrupt('table footer fails its checksum', place);
  }
  const values = decodeLayout(tableFooter, bytes, 0, place);
  const inOrder =
    values.filterOff === dataFrom + values.dataLen &&
    values.filterOff + values.filterLen <= values.topIndexOff &&
    values.topIndexLen >= blockTrailer.size &&
    align8(values.topIndexOff + values.topIndexLen) === values.propsOff &&
    values.propsLen === tableProps.size + blockTrailer.size &&
    align8(values.propsOff + values.propsLen) === offset;
  if (!inOrder) throw corrupt('regions of the table do not follow each other', place);
  if (values.entries < values.dataBlocks || values.dataBlocks === 0 || values.minSeq > values.maxSeq) {
    throw corrupt('table footer contradicts itself', place);
  }
  return values;
}

/** Bytes a block of `rawLen` takes in the file: itself, trailer, padding. */
export function sealedBytes(rawLen: number): number {
  return align8(rawLen + blockTrailer.size);
}

/**
 * Completes a block in place: writes trailer and padding behind `buf[from..from+rawLen)`, which needs room
 * for `sealedBytes(rawLen)`. `offset` is the block's place in the file. Returns the end after padding.
 */
export function sealBlock(
  buf: Uint8Array,
  from: number,
  rawLen: number,
  seed: FileSeed,
  offset: number,
): number {
  const at = from + rawLen;
  encodeLayout(blockTrailer, { codec: codecs.raw, cipher: 0, rawLen, checksum: 0n }, buf, at);
  const checksumAt = at + blockTrailer.at.checksum;
  writeChecksum(buf, checksumAt, from, checksumAt, seed.at(offset));
  const end = from + sealedBytes(rawLen);
  buf.fill(0, at + blockTrailer.size, end);
  return end;
}

/**
 * Checks a block as read from `offset`: `buf` holds its `length` bytes and the padding after them. Returns
 * a view on its decoded bytes (borrowed from `buf`). VARVE_CORRUPT on damage, VARVE_FORMAT_VERSION when it
 * is compressed or encrypted by a newer build.
 */
export function openBlock(
  buf: Uint8Array,
  length: number,
  seed: FileSeed,
  offset: number,
  file: string,
): Uint8Array {
  const place: Place = { file, offset };
  if (length < blockTrailer.size || buf.length !== align8(length)) throw corrupt('block is cut off', place);
  const checksumAt = length - 8;
  if (!checksumMatches(buf, checksumAt, 0, checksumAt, seed.at(offset))) {
    throw corrupt('block fails its checksum', place);
  }
  if (!isZero(buf, length, buf.length)) throw corrupt('padding after a block is not zero', place);
  const rawLen = length - blockTrailer.size;
  const trailer = decodeLayout(blockTrailer, buf, rawLen, place);
  if (trailer.codec !== codecs.raw || trailer.cipher !== 0) {
    throw new VarveError(
      'VARVE_FORMAT_VERSION',
      `${file}: a block uses codec ${trailer.codec}, cipher ${trailer.cipher}`,
      {
        file,
        offset,
      },
    );
  }
  if (trailer.rawLen !== rawLen) throw corrupt('block length differs', place, rawLen, trailer.rawLen);
  return buf.subarray(0, rawLen);
}

/** Encodes the properties block, without trailer. */
export function encodeTableProps(props: TableProps): Uint8Array {
  const out = new Uint8Array(tableProps.size);
  encodeLayout(tableProps, props, out);
  return out;
}

/** Decodes the properties and checks them against footer and header. `place` is where the block lies. */
export function decodeTableProps(
  bytes: Uint8Array,
  footer: TableFooter,
  tree: number,
  level: number,
  place: Place,
): TableProps {
  const props = decodeLayout(tableProps, bytes, 0, place);
  if (props.tree !== tree) throw corrupt('table of another tree', place, tree, props.tree);
  // A table goes down a level as it is where nothing lies in its way; it never goes up.
  if (props.level > level) throw corrupt('table of a deeper level', place, level, props.level);
  if (props.indexOff !== footer.filterOff + footer.filterLen || props.indexOff > footer.topIndexOff) {
    throw corrupt('index of the table is not where its filter ends', place);
  }
  if (props.filterPartitionBytes !== filterPartitionBytes) {
    throw new VarveError('VARVE_FORMAT_VERSION', `${place.file}: unknown size of filter partitions`, {
      file: place.file,
    });
  }
  const filterBytes = props.filterBuckets * 32;
  if (filterRegionBytes(filterBytes) !== footer.filterLen) {
    throw corrupt('filter length differs', place, filterRegionBytes(filterBytes), footer.filterLen);
  }
  return props;
}

/** Bytes that a filter of `filterBytes` takes in the file, cut into partitions. */
export function filterRegionBytes(filterBytes: number): number {
  const full = Math.floor(filterBytes / filterPartitionBytes);
  const rest = filterBytes % filterPartitionBytes;
  return full * sealedBytes(filterPartitionBytes) + (rest === 0 ? 0 : sealedBytes(rest));
}

/** Smallest possible table file. */
export const tableBytesMin: number = fileHeader.size + tableFooter.size;
