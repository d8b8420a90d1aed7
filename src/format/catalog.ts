/**
 * A catalog: the whole set of live files, written once and never changed. The file is the common header,
 * then the same body twice, each as one frame, so that one damaged body is read from its twin.
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { isZero } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { FileSeed, xxh64 } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, type Layout, type Values } from '../codec/layout.ts';
import { decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import type { NumberedKind } from './file-names.ts';
import { catalogFeatures, newerFormat, unknownFlags } from './format-ladder.ts';
import {
  catalogMagic,
  catalogPayloadBytesMax,
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  logFrame,
  type ReadFrame,
  readFrame,
  sealFrame,
} from './log-frame.ts';

export const catalogHead = defineLayout('cathead', 'catalog head', 64, {
  previousCatalogNo: f(0, 'u64', 'catalog installed before this one, 0 = none'),
  checkpointSeq: f(8, 'u64', 'everything up to this number is in the tables named here'),
  walFirstNo: f(16, 'u64', 'log files below are not needed; 0 = none was made yet, the first is above `no`'),
  nextFileNo: f(24, 'u64', 'lower bound of the next file number'),
  timelineId: f(32, 'u64', 'branch of history'),
  features: f(40, 'u32', 'features of the contents; any unknown one = refuse'),
  tables: f(44, 'u32', 'table records behind the head'),
  sealed: f(48, 'u32', 'sealed segment records behind the tables'),
  unsealed: f(52, 'u32', 'unsealed segment records behind those'),
  dropped: f(56, 'u32', 'dropped file records, last'),
  reserved: f(60, 4, 'zero'),
});

export const catalogTable = defineLayout('cattable', 'catalog table record', 64, {
  no: f(0, 'u64', 'file number of the table'),
  size: f(8, 'u64', 'bytes of the file. guards: truncated file'),
  entries: f(16, 'u64', 'entries in it. guards: another file under that number'),
  minSeq: f(24, 'u64', 'lowest sequence number in it'),
  maxSeq: f(32, 'u64', 'highest sequence number in it'),
  checksum: f(40, 'hash64', 'xxh64 of the whole file'),
  minKeyLen: f(48, 'u32', 'bytes of the first key; both keys follow the record, zero-padded to 8'),
  maxKeyLen: f(52, 'u32', 'bytes of the last key'),
  tree: f(56, 'u8', '1 K, 2 C, 3 X, 4 S'),
  level: f(57, 'u8', 'level in its tree'),
  reserved: f(58, 6, 'zero'),
});

export const catalogSegment = defineLayout('catsealed', 'catalog sealed segment record', 40, {
  no: f(0, 'u64', 'file number of the segment'),
  size: f(8, 'u64', 'bytes of the file. guards: truncated file'),
  dataLen: f(16, 'u64', 'bytes of frames in it'),
  trailerChecksum: f(24, 'hash64', 'xxh64 of its trailer. guards: another file under that number'),
  frames: f(32, 'u32', 'frames in it'),
  class: f(36, 'u8', 'stream class'),
  reserved: f(37, 3, 'zero'),
});

export const catalogUnsealed = defineLayout('catunsealed', 'catalog unsealed segment record', 16, {
  no: f(0, 'u64', 'file number of the segment'),
  committedOff8: f(8, 'u32', 'frames below this offset / 8 are named by something durable'),
  class: f(12, 'u8', 'stream class'),
  reserved: f(13, 3, 'zero'),
});

export const catalogDropped = defineLayout('catdropped', 'catalog dropped file record', 16, {
  no: f(0, 'u64', 'file number'),
  kind: f(8, 'u8', '1 catalog, 2 log, 3 table, 4 segment'),
  reserved: f(9, 7, 'zero'),
});

/** Codes of file kinds in dropped records. Never changed, never reused. */
const kindCodes: Readonly<Record<NumberedKind, number>> = { cat: 1, wal: 2, tab: 3, seg: 4 };
const kindsByCode: readonly (NumberedKind | undefined)[] = [undefined, 'cat', 'wal', 'tab', 'seg'];

export interface CatalogTable {
  tree: number;
  level: number;
  no: FileNo;
  /** Bytes of the file. */
  size: number;
  entries: number;
  minKey: Uint8Array;
  maxKey: Uint8Array;
  minSeq: Seq;
  maxSeq: Seq;
  /** xxh64 of the whole file. */
  checksum: bigint;
}

export interface CatalogSegment {
  no: FileNo;
  class: number;
  size: number;
  frames: number;
  dataLen: number;
  trailerChecksum: bigint;
}

export interface CatalogUnsealed {
  no: FileNo;
  class: number;
  committedOff8: number;
}

export interface NumberedFile {
  kind: NumberedKind;
  no: FileNo;
}

export interface Catalog {
  no: FileNo;
  /** Generation of the superblock slot its install wrote. */
  generation: number;
  previousCatalogNo: FileNo;
  checkpointSeq: Seq;
  /** 0 = no log file was made yet: those that are get numbers above the catalog's own. */
  walFirstNo: FileNo;
  nextFileNo: FileNo;
  timelineId: number;
  /** Bits of catalogFeatures. */
  features: number;
  tables: CatalogTable[];
  sealed: CatalogSegment[];
  unsealed: CatalogUnsealed[];
  /** Files this install stopped naming: unlinked after the next one. */
  dropped: NumberedFile[];
}

/**
 * The lowest number a log file of `catalog` has. Where none was made yet, files below the catalog's own
 * number are from before a repair: a power cut may bring one back.
 */
export function firstLogNo({ walFirstNo, no }: Pick<Catalog, 'walFirstNo' | 'no'>): FileNo {
  return walFirstNo === 0 ? no : walFirstNo;
}

/** Largest catalog file a reader accepts, bytes. */
export const catalogFileBytesMax: number = fileHeader.size + 2 * frameBytes(catalogPayloadBytesMax);

/**
 * The bytes of a catalog file and the checksum that superblock slots carry. VARVE_NO_SPACE when the set of
 * files is too large for one catalog. `salt`: 12 random bytes.
 */
export function encodeCatalogFile(
  catalog: Catalog,
  ids: { dbUuid: Uint8Array; salt: Uint8Array },
): { bytes: Uint8Array; bodyChecksum: bigint } {
  const w = new ByteWriter(4096);
  w.zeros(frameHeaderBytes);
  writeBody(w, catalog);
  const payloadLen = w.pos - frameHeaderBytes;
  if (payloadLen > catalogPayloadBytesMax)
    throw new VarveError('VARVE_NO_SPACE', 'the catalog of live files exceeds its bound');
  const total = frameBytes(payloadLen);
  const bytes = new Uint8Array(fileHeader.size + 2 * total);
  bytes.set(
    encodeFileHeader({ kind: 'catalog', subKind: 0, fileNo: catalog.no, dbUuid: ids.dbUuid, salt: ids.salt }),
  );
  const seed = new FileSeed(ids.salt);
  const header = {
    type: frameTypes.catalog,
    seqFirst: catalog.generation,
    count: 1,
    commitTimeMs: 0,
    durableSeq: 0,
  };
  for (const at of [fileHeader.size, fileHeader.size + total]) {
    bytes.set(w.written(), at);
    sealFrame(bytes, at, payloadLen, header, seed, at, catalogMagic);
  }
  return { bytes, bodyChecksum: checksumOfBody(bytes, fileHeader.size, payloadLen) };
}

/**
 * Decodes a catalog file (`bytes` borrowed, copied where kept). A damaged body is read from its twin and
 * reported in `damage`. VARVE_CORRUPT when the header or both bodies are damaged or the file is not the
 * expected one; VARVE_FORMAT_VERSION on unknown features.
 */
export function decodeCatalogFile(
  bytes: Uint8Array,
  expected: { no: FileNo; dbUuid: Uint8Array },
  file: string,
): { catalog: Catalog; bodyChecksum: bigint; damage: VarveError | undefined } {
  const header = decodeFileHeader(
    bytes,
    { kind: 'catalog', fileNo: expected.no, dbUuid: expected.dbUuid },
    file,
  );
  const second = fileHeader.size + (bytes.length - fileHeader.size) / 2;
  const bodies = [
    readBody(bytes, fileHeader.size, header.seed, file),
    second % 8 === 0 ? readBody(bytes, second, header.seed, file) : notABody(file, second, 'length'),
  ];
  let damage: VarveError | undefined;
  let whole: ReadFrame | undefined;
  for (const body of bodies) {
    if (body.damage !== undefined) damage ??= body.damage;
    whole ??= body.frame;
  }
  if (whole === undefined) throw damage ?? corrupt('no whole body', { file });
  if (damage === undefined && bodies[1]?.frame?.next !== bytes.length)
    damage = corrupt('catalog has bytes behind its bodies', { file, offset: bodies[1]?.frame?.next ?? 0 });
  const catalog = decodeBody(bytes, whole, expected.no, file);
  const payloadLen = whole.payloadTo - whole.payloadFrom;
  return {
    catalog,
    bodyChecksum: checksumOfBody(bytes, whole.payloadFrom - frameHeaderBytes, payloadLen),
    damage,
  };
}

/** Equal in both twins: the seed of a frame's own checksum depends on its place, this one does not. */
function checksumOfBody(bytes: Uint8Array, at: number, payloadLen: number): bigint {
  return xxh64(bytes.subarray(at + logFrame.at.seqFirst, at + frameHeaderBytes + payloadLen));
}

interface Body {
  frame?: ReadFrame;
  damage?: VarveError;
}

function readBody(bytes: Uint8Array, at: number, seed: FileSeed, file: string): Body {
  const verdict = readFrame(bytes, at, bytes.length, seed, at, catalogMagic);
  if (!verdict.ok) {
    if (verdict.reason === 'flags') throw newerFormat('unknown flags in a catalog', { file, offset: at });
    const whole = verdict.frame?.type === frameTypes.catalog ? { frame: verdict.frame } : {};
    return { ...notABody(file, at, verdict.reason), ...whole };
  }
  return verdict.type === frameTypes.catalog ? { frame: verdict } : notABody(file, at, 'type');
}

function notABody(file: string, at: number, why: string): Body {
  return { damage: corrupt(`catalog body is damaged: ${why}`, { file, offset: Math.floor(at) }) };
}

function writeBody(w: ByteWriter, catalog: Catalog): void {
  append(w, catalogHead, {
    previousCatalogNo: catalog.previousCatalogNo,
    checkpointSeq: catalog.checkpointSeq,
    walFirstNo: catalog.walFirstNo,
    nextFileNo: catalog.nextFileNo,
    timelineId: catalog.timelineId,
    features: catalog.features,
    tables: catalog.tables.length,
    sealed: catalog.sealed.length,
    unsealed: catalog.unsealed.length,
    dropped: catalog.dropped.length,
  });
  for (const { tree, level, no, size, entries, minSeq, maxSeq, checksum, minKey, maxKey } of catalog.tables) {
    const keys = { minKeyLen: minKey.length, maxKeyLen: maxKey.length };
    append(w, catalogTable, { tree, level, no, size, entries, minSeq, maxSeq, checksum, ...keys });
    w.raw(minKey);
    w.raw(maxKey);
    w.align8();
  }
  for (const segment of catalog.sealed) append(w, catalogSegment, segment);
  for (const segment of catalog.unsealed) append(w, catalogUnsealed, segment);
  for (const { kind, no } of catalog.dropped) append(w, catalogDropped, { no, kind: kindCodes[kind] });
}

function append<F extends Layout['fields']>(w: ByteWriter, layout: Layout<F>, values: Values<F>): void {
  w.reserve(layout.size);
  encodeLayout(layout, values, w.bytes, w.pos);
  w.pos += layout.size;
}

function decodeBody(bytes: Uint8Array, frame: ReadFrame, no: FileNo, file: string): Catalog {
  const place: Place = { file, offset: 0 };
  const r = new ByteReader(bytes, place, frame.payloadFrom, frame.payloadTo);
  const take = <F extends Layout['fields']>(layout: Layout<F>): Values<F> => {
    const at = r.pos;
    r.view(layout.size);
    return decodeLayout(layout, bytes, at, place);
  };
  const head = take(catalogHead);
  const { tables: tableCount, sealed, unsealed, dropped } = head;
  if (unknownFlags(head.features, catalogFeatures) !== 0)
    throw newerFormat('the catalog uses an unknown feature', { file, offset: frame.payloadFrom });
  const least =
    tableCount * catalogTable.size +
    sealed * catalogSegment.size +
    unsealed * catalogUnsealed.size +
    dropped * catalogDropped.size;
  if (least > r.left) throw r.fail('catalog counts exceed its body');
  const tables: CatalogTable[] = [];
  for (let i = 0; i < tableCount; i++) {
    const row = take(catalogTable);
    const minKey = r.copy(row.minKeyLen);
    const maxKey = r.copy(row.maxKeyLen);
    const over = (r.pos - frame.payloadFrom) % 8;
    const padding = over === 0 ? 0 : 8 - over;
    if (!isZero(r.view(padding))) throw r.fail('padding is not zero');
    const { tree, level, no: tableNo, size, entries, minSeq, maxSeq, checksum } = row;
    tables.push({ tree, level, no: tableNo, size, entries, minKey, maxKey, minSeq, maxSeq, checksum });
  }
  const catalog: Catalog = {
    no,
    generation: frame.seqFirst,
    previousCatalogNo: head.previousCatalogNo,
    checkpointSeq: head.checkpointSeq,
    walFirstNo: head.walFirstNo,
    nextFileNo: head.nextFileNo,
    timelineId: head.timelineId,
    features: head.features,
    tables,
    sealed: Array.from({ length: sealed }, () => take(catalogSegment)),
    unsealed: Array.from({ length: unsealed }, () => take(catalogUnsealed)),
    dropped: Array.from({ length: dropped }, () => {
      const record = take(catalogDropped);
      const kind = kindsByCode[record.kind];
      if (kind === undefined) throw r.fail('unknown kind of dropped file');
      return { kind, no: record.no };
    }),
  };
  r.finish();
  return catalog;
}
