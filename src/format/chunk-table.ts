/**
 * Chunk tables (tree C): blocks of fixed-width entries in the order of their ids, searched in place.
 *
 *   header 64 | zero up to 4096 | blocks of 4096 | filter partitions | block prefixes | properties | footer
 *
 * The index is one u32 per block: the first 4 bytes of its first id, as a big-endian number. Blocks lie at
 * multiples of 4096, so that reading one touches one page of the device.
 */
import { i32le, isZero, u32be, u32le, viewOf } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { checksumMatches, type FileSeed, writeChecksum } from '../codec/checksum.ts';
import { defineLayout, f } from '../codec/layout.ts';
import { chunkIdBytes } from './chunk-ref.ts';

export const chunkEntry = defineLayout('centry', 'chunk entry', 56, {
  id: f(0, 32, 'id of the chunk; entries ascend by it'),
  segment: f(32, 'u32', 'segment of the newest location known to this table'),
  off8: f(36, 'u32', 'offset of the frame in the segment, divided by 8'),
  storedLen: f(40, 'u32', 'payload bytes in the frame'),
  rawLen: f(44, 'u32', 'bytes of the chunk'),
  refs: f(48, 'i32', 'references: a delta, to be added over all tables; saturates and sticks'),
  kind: f(52, 'u8', 'kind of chunk'),
  codec: f(53, 'u8', 'codec << 4 | cipher'),
  flags: f(54, 'u16', '1 HAS_LOC, 2 DROPPED, 4 SATURATED'),
});

export const chunkBlockHead = defineLayout('cblock', 'chunk block head', 16, {
  checksum: f(0, 'hash64', 'xxh64(S xor block offset; block bytes 8..4095). guards: misdirected reads'),
  count: f(8, 'u16', 'entries of the block; 72 but in the last one'),
  flags: f(10, 'u16', 'zero'),
  reserved: f(12, 'u32', 'zero'),
});

/** Flags of a chunk entry. Never changed, never reused. */
export const chunkEntryFlags = { hasLocation: 1, dropped: 2, saturated: 4 } as const;
const knownFlags = 7;

export const chunkBlockBytes = 4096;
/** Entries of a full block. */
export const chunkBlockEntries = 72;

const at = chunkEntry.at;

/** Position of entry `index` in a block. */
export function chunkEntryAt(index: number): number {
  return chunkBlockHead.size + index * chunkEntry.size;
}

/** Entries in a checked block. */
export function chunkBlockCount(block: Uint8Array): number {
  return block[chunkBlockHead.at.count]! | (block[chunkBlockHead.at.count + 1]! << 8);
}

/** The index value of the id at id[idAt..]: its first 4 bytes, u32. */
export function chunkIdPrefix(id: Uint8Array, idAt: number): number {
  return u32be(id, idAt);
}

/** The two filter hashes of an id: bytes the index does not use. */
export function chunkBucketHash(id: Uint8Array, idAt: number): number {
  return chunkIdPrefix(id, idAt + 4);
}

export function chunkBitsHash(id: Uint8Array, idAt: number): number {
  return chunkIdPrefix(id, idAt + 8);
}

/** Order of two ids: negative, 0 or positive. */
export function compareChunkIds(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  for (let i = 0; i < chunkIdBytes; i++) {
    const d = a[aAt + i]! - b[bAt + i]!;
    if (d !== 0) return d;
  }
  return 0;
}

/** Index of the first entry with an id >= id[idAt..] in a checked block; its count when there is none. */
export function searchChunkBlock(block: Uint8Array, id: Uint8Array, idAt: number): number {
  let low = 0;
  let high = chunkBlockCount(block);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareChunkIds(block, chunkEntryAt(middle), id, idAt) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Columns of one entry; reused, so that reading entries allocates nothing. The id is not among them. */
export class ChunkColumns {
  segment = 0;
  off8 = 0;
  storedLen = 0;
  rawLen = 0;
  refs = 0;
  kind = 0;
  codec = 0;
  /** Bits of `chunkEntryFlags`. */
  flags = 0;

  /** Reads the columns of the entry at `from`. */
  read(bytes: Uint8Array, from: number): void {
    this.segment = u32le(bytes, from + at.segment);
    this.off8 = u32le(bytes, from + at.off8);
    this.storedLen = u32le(bytes, from + at.storedLen);
    this.rawLen = u32le(bytes, from + at.rawLen);
    this.refs = i32le(bytes, from + at.refs);
    this.kind = bytes[from + at.kind]!;
    this.codec = bytes[from + at.codec]! >>> 4;
    this.flags = bytes[from + at.flags]! | (bytes[from + at.flags + 1]! << 8);
  }

  /** Writes an entry at `to`: the id at id[idAt..] and these columns. */
  write(out: DataView, to: number, id: Uint8Array, idAt: number): void {
    for (let i = 0; i < chunkIdBytes; i++) out.setUint8(to + i, id[idAt + i]!);
    out.setUint32(to + at.segment, this.segment, true);
    out.setUint32(to + at.off8, this.off8, true);
    out.setUint32(to + at.storedLen, this.storedLen, true);
    out.setUint32(to + at.rawLen, this.rawLen, true);
    out.setInt32(to + at.refs, this.refs, true);
    out.setUint8(to + at.kind, this.kind);
    out.setUint8(to + at.codec, this.codec << 4);
    out.setUint16(to + at.flags, this.flags, true);
  }
}

/** Completes a block of `count` entries at buf[from..from+4096): zeroes the rest, writes its head. */
export function sealChunkBlock(
  buf: Uint8Array,
  from: number,
  count: number,
  seed: FileSeed,
  offset: number,
): void {
  buf.fill(0, from + chunkEntryAt(count), from + chunkBlockBytes);
  buf.fill(0, from, from + chunkBlockHead.size);
  viewOf(buf).setUint16(from + chunkBlockHead.at.count, count, true);
  writeChecksum(buf, from, from + 8, from + chunkBlockBytes, seed.at(offset));
}

/**
 * Checks a block as read from `offset`: checksum, head, flags, order of its ids, zeros after the last entry.
 * `count` is what the block must hold. VARVE_CORRUPT otherwise, VARVE_FORMAT_VERSION on unknown flags.
 */
export function checkChunkBlock(
  block: Uint8Array,
  count: number,
  seed: FileSeed,
  offset: number,
  file: string,
): void {
  const place: Place = { file, offset };
  if (block.length !== chunkBlockBytes) throw corrupt('chunk block is cut off', place);
  if (!checksumMatches(block, 0, 8, chunkBlockBytes, seed.at(offset))) {
    throw corrupt('chunk block fails its checksum', place);
  }
  const found = chunkBlockCount(block);
  if (found !== count) throw corrupt('chunk block has a wrong number of entries', place, count, found);
  if (!isZero(block, chunkBlockHead.at.flags, chunkBlockHead.size)) {
    throw corrupt('reserved bytes of a chunk block are not zero', place);
  }
  if (!isZero(block, chunkEntryAt(count))) throw corrupt('chunk block is not zero after its entries', place);
  const view = viewOf(block);
  let before = -1;
  for (let i = 0; i < count; i++) {
    const entry = chunkEntryAt(i);
    const prefix = view.getUint32(entry);
    if (prefix <= before && !isAscending(block, entry - chunkEntry.size, entry)) {
      throw corrupt('chunk entries are not in order', { file, offset: offset + entry });
    }
    before = prefix;
    if ((view.getUint32(entry + at.kind, true) & unknownBits) !== 0)
      refuseUnknown(block, entry, file, offset);
  }
}

/** Bits of kind, codec and flags, read as one number, that this build does not know: cipher and flags. */
const unknownBits = (0x0f << 8) | (~knownFlags << 16);

function refuseUnknown(block: Uint8Array, entry: number, file: string, offset: number): never {
  if ((block[entry + at.flags]! | (block[entry + at.flags + 1]! << 8)) > knownFlags) {
    throw newer('chunk entry has unknown flags', file, offset + entry + at.flags);
  }
  throw newer('chunk entry names a cipher', file, offset + entry + at.codec);
}

function isAscending(block: Uint8Array, entry: number, next: number): boolean {
  return compareChunkIds(block, entry, block, next) < 0;
}

function newer(what: string, file: string, offset: number): VarveError {
  return new VarveError('VARVE_FORMAT_VERSION', `${file}: ${what}; a newer version of varve is needed`, {
    file,
    offset,
  });
}
