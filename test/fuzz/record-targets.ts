/** Targets: records inside segments, tables and values. */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import type { Prng } from '../../src/base/prng.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import { decodeMsgpack, encodeMsgpack, type PackValue } from '../../src/codec/msgpack.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  encodeChunkFrame,
  frameBytes,
} from '../../src/format/chunk-frame.ts';
import { writeChunkRef } from '../../src/format/chunk-ref-bytes.ts';
import {
  decodeInternalKey,
  decodeSysKey,
  encodeInternalKey,
  encodeRowPrefix,
  encodeSysKey,
} from '../../src/format/internal-key.ts';
import { encodeListNode, listNodeCountOf, parseListNode } from '../../src/format/list-node.ts';
import { decodeMetadata, encodeMetadata } from '../../src/format/metadata.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  segmentDataFrom,
  segmentFooter,
  TrailerBuilder,
} from '../../src/format/segment.ts';
import { decodeSpaceRow, encodeSpaceRow, spaceKey, spacePrefix } from '../../src/format/system-rows.ts';
import {
  parseValueRecord,
  type RecordBody,
  type RecordFields,
  recordForms,
  writeValueRecord,
} from '../../src/format/value-record.ts';
import { indexTargets } from './index-targets.ts';
import { integer } from './op-targets.ts';
import { tableTargets } from './table-targets.ts';
import { sameBytes, sameValue, type Target } from './target.ts';

const file = 'fuzzed';
const place = { file, offset: 0 };
const seed = new FileSeed(Uint8Array.from({ length: 12 }, (_, i) => i + 1));

const frame: Target = {
  name: 'chunk frame',
  sample(prng) {
    const payload = prng.bytes(prng.below(90));
    const bytes = new Uint8Array(frameBytes(payload.length));
    bytes.set(payload, chunkFrame.size);
    encodeChunkFrame(bytes, 0, prng.bytes(32), 0, payload.length, payload.length, prng.below(3), 0);
    const verdict = checkChunkFrame(bytes, 0, bytes.length, new ChunkFrame());
    if (verdict !== 'ok') throw new Error(`own frame refused: ${verdict}`);
    return bytes;
  },
  run(bytes) {
    const found = new ChunkFrame();
    if (checkChunkFrame(bytes, 0, bytes.length, found) !== 'ok') return;
    const { storedLen, rawLen, kind, codec, idAt, next } = found;
    const again = bytes.slice(0, next);
    encodeChunkFrame(again, 0, bytes, idAt, storedLen, rawLen, kind, codec);
    sameBytes(bytes.subarray(0, next), again);
  },
  reseal(bytes) {
    if (bytes.length < chunkFrame.size) return;
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(chunkFrame.at.storedLen, true);
    const end = chunkFrame.size + length;
    if (end <= bytes.length) writeChecksum(bytes, chunkFrame.at.checksum, chunkFrame.at.version, end);
  },
};

/** Trailer and footer alone; the frames before them are taken to fill what the footer says. */
const trailer: Target = {
  name: 'segment trailer and footer',
  sample(prng) {
    const builder = new TrailerBuilder();
    let at = segmentDataFrom;
    for (let n = prng.below(5); n > 0; n--) {
      const length = prng.below(5000);
      builder.add(prng.bytes(32), 0, at / 8, length, length, prng.below(3), 0);
      at += frameBytes(length);
    }
    const bytes = builder.encode(at - segmentDataFrom, seed, prng.chance(0.5)).bytes.slice();
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const split = Math.max(0, bytes.length - segmentFooter.size);
    const fileSize = sizeOf(bytes, split);
    const footer = decodeSegmentFooter(bytes.subarray(split), seed, fileSize, file);
    const { count, ids, off8, storedLen, rawLen, kind, codec } = decodeTrailer(
      bytes.subarray(0, split),
      footer,
      file,
    );
    const builder = new TrailerBuilder();
    for (let i = 0; i < count; i++)
      builder.add(ids, i * 32, off8[i]!, storedLen[i]!, rawLen[i]!, kind[i]!, codec[i]!);
    sameBytes(bytes, builder.encode(footer.dataLen, seed, footer.sealedByRecovery).bytes);
  },
  reseal(bytes) {
    const split = bytes.length - segmentFooter.size;
    if (split < 0) return;
    const { checksum, trailerChecksum } = segmentFooter.at;
    writeChecksum(bytes, split + trailerChecksum, 0, split);
    const seeded = seed.at(sizeOf(bytes, split) - segmentFooter.size);
    writeChecksum(bytes, split + checksum, split, split + checksum, seeded);
  },
};

function sizeOf(bytes: Uint8Array, split: number): number {
  if (bytes.length < segmentFooter.size) return bytes.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset + split);
  const dataLen = view.getUint32(segmentFooter.at.dataLen, true);
  return segmentDataFrom + dataLen + bytes.length;
}

function randomBody(prng: Prng): RecordBody {
  const place = () => ({
    segment: prng.u32(),
    off8: prng.u32(),
    storedLen: prng.u32(),
    rawLen: 1 + prng.below(2 ** 24),
  });
  const form = prng.below(3);
  if (form === recordForms.inline) {
    const bytes = prng.bytes(prng.below(60));
    return { form, size: bytes.length, bytes };
  }
  if (form === recordForms.list) {
    const n = 1 + prng.below(16);
    const refs = new Uint8Array(n * 48);
    let size = 0;
    for (let i = 0; i < n; i++) {
      const where = place();
      size += where.rawLen;
      writeChunkRef(refs, i * 48, prng.bytes(32), 0, where);
    }
    return { form, size, refs };
  }
  const leafCount = 1 + prng.below(1000);
  const root = { id: prng.bytes(32), ...place(), rawLen: 24 + 40 * (1 + prng.below(2048)) };
  return {
    form: recordForms.tree,
    size: leafCount + prng.below(9999),
    root,
    height: 1 + prng.below(5),
    leafCount,
  };
}

const record: Target = {
  name: 'value record',
  sample(prng) {
    const timeMs = integer(prng, 2 ** 48 - 1);
    const markers = [
      { kind: rowKinds.delete, timeMs },
      { kind: rowKinds.lateDelete, timeMs },
      { kind: rowKinds.gone, timeMs, seq: integer(prng) },
    ] as const;
    const put: RecordFields = {
      kind: rowKinds.put,
      timeMs,
      body: randomBody(prng),
      ...(prng.chance(0.3) ? { expireAtMs: integer(prng, 2 ** 48 - 1) } : {}),
      ...(prng.chance(0.3) ? { createdMs: prng.below(timeMs + 1) } : {}),
      ...(prng.chance(0.3) ? { metadata: prng.bytes(1 + prng.below(20)) } : {}),
    };
    const w = new ByteWriter();
    writeValueRecord(w, prng.chance(0.8) ? put : prng.pick(markers));
    this.run(w.take());
    return w.take();
  },
  run(bytes) {
    const parsed = parseValueRecord(bytes, 0, bytes.length, place);
    const w = new ByteWriter();
    writeValueRecord(w, fieldsOf(bytes, parsed));
    sameBytes(bytes, w.written());
  },
};

function fieldsOf(bytes: Uint8Array, parsed: ReturnType<typeof parseValueRecord>): RecordFields {
  const { kind, timeMs, expireAtMs, createdMs, metadataFrom, metadataTo, goneSeq: seq } = parsed;
  if (kind === rowKinds.gone) return { kind, timeMs, seq };
  if (kind !== rowKinds.put) return { kind: kind as typeof rowKinds.delete, timeMs };
  const metadata = bytes.subarray(metadataFrom, metadataTo);
  const expiry = expireAtMs === undefined ? {} : { expireAtMs };
  return { kind, timeMs, createdMs, metadata, ...expiry, body: bodyOf(bytes, parsed) };
}

function bodyOf(bytes: Uint8Array, parsed: ReturnType<typeof parseValueRecord>): RecordBody {
  const { form, size, bodyFrom: at, chunks, height } = parsed;
  if (form === recordForms.inline) return { form, size, bytes: bytes.subarray(at) };
  if (form === recordForms.list) return { form, size, refs: bytes.subarray(at, at + chunks * 48) };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const u32 = (offset: number): number => view.getUint32(at + offset, true);
  const where = { segment: u32(32), off8: u32(36), storedLen: u32(40), rawLen: u32(44) };
  const root = { id: bytes.subarray(at, at + 32), ...where };
  return { form: recordForms.tree, size, root, height, leafCount: chunks };
}

const node: Target = {
  name: 'list node',
  sample(prng) {
    const count = 1 + prng.below(20);
    const ends = new Float64Array(count);
    let end = 0;
    for (let i = 0; i < count; i++) ends[i] = end += 1 + prng.below(60_000);
    const level = prng.below(5);
    const bytes = encodeListNode(
      level,
      prng.bytes(32 * count),
      ends,
      count,
      level === 0 ? count : count + prng.below(9),
    );
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const { level, count, totalLeaves, ...parsed } = parseNode(bytes);
    if (listNodeCountOf(bytes.length) !== count) throw new Error('a node of another length was accepted');
    sameBytes(bytes, encodeListNode(level, parsed.ids, parsed.ends, count, totalLeaves));
  },
};

function parseNode(bytes: Uint8Array) {
  const parsed = parseListNode(bytes, place);
  const { level, count, totalLeaves, totalBytes } = parsed;
  const ids = new Uint8Array(32 * count);
  const ends = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const at = parsed.childIdAt(i);
    ids.set(bytes.subarray(at, at + 32), i * 32);
    ends[i] = parsed.childEnd(i);
  }
  for (const offset of [0, totalBytes - 1, Math.floor(totalBytes / 2)]) {
    const i = parsed.childAt(offset);
    if (offset < parsed.childStart(i) || offset >= parsed.childEnd(i))
      throw new Error('childAt found another child');
  }
  return { level, count, totalLeaves, ids, ends };
}

const internalKey: Target = {
  name: 'internal key',
  sample(prng) {
    const key = Uint8Array.from(prng.bytes(prng.below(20)), (byte) => (byte < 80 ? 0 : byte));
    const fields = { space: prng.u32(), userKey: key, seq: integer(prng) };
    const bytes = encodeInternalKey(encodeRowPrefix(fields.space, key), fields.seq);
    sameValue(decodeInternalKey(bytes, 0, bytes.length, place), fields);
    return bytes;
  },
  run(bytes) {
    const { space, userKey, seq } = decodeInternalKey(bytes, 0, bytes.length, place);
    sameBytes(bytes, encodeInternalKey(encodeRowPrefix(space, userKey), seq));
  },
};

const sysKey: Target = {
  name: 'system key',
  sample(prng) {
    const key = Uint8Array.from(prng.bytes(prng.below(20)), (byte) => (byte < 80 ? 0 : byte));
    const bytes = encodeSysKey(key, integer(prng));
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const { sysKey: key, seq } = decodeSysKey(bytes, 0, bytes.length, place);
    sameBytes(bytes, encodeSysKey(key, seq));
  },
};

function randomPack(prng: Prng, depth: number): PackValue {
  const leaves: (() => PackValue)[] = [
    () => null,
    () => prng.chance(0.5),
    () => prng.pick([0, 1, -1, 127, 128, -32, -33, 65536, 2 ** 40, -(2 ** 40), 0.5, Number.NaN]),
    () => integer(prng),
    () => toHex(prng.bytes(prng.below(40))),
    () => prng.bytes(prng.below(40)),
    () => new Date(prng.below(2 ** 31) * prng.pick([1, 1000, -5000])),
  ];
  if (depth >= 5 || prng.chance(0.6)) return prng.pick(leaves)();
  const length = prng.below(5);
  if (prng.chance(0.5)) return Array.from({ length }, () => randomPack(prng, depth + 1));
  return Object.fromEntries(
    Array.from({ length }, (_, i) => [`k${prng.below(9)}${i}`, randomPack(prng, depth + 1)]),
  );
}

const msgpack: Target = {
  name: 'msgpack',
  sample(prng) {
    const value = randomPack(prng, 0);
    const bytes = encodeMsgpack(value, 'value');
    sameValue(decodeMsgpack(bytes, place), value);
    return bytes;
  },
  run(bytes) {
    sameBytes(bytes, encodeMsgpack(decodeMsgpack(bytes, place), 'value'));
  },
};

const metadata: Target = {
  name: 'metadata',
  sample(prng) {
    const tags = Array.from({ length: 1 + prng.below(4) }, () => toHex(prng.bytes(1 + prng.below(4))));
    const map = { a: randomPack(prng, 1), b: randomPack(prng, 1) };
    const extra = prng.chance(0.5) ? { contentType: 'text/plain', system: { sha256: prng.bytes(32) } } : {};
    const bytes = encodeMetadata({ tags, metadata: map, ...extra });
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    sameBytes(bytes, encodeMetadata(decodeMetadata(bytes, place)));
  },
};

const spaceRow: Target = {
  name: 'space row',
  sample(prng) {
    const name = toHex(prng.bytes(1 + prng.below(9)));
    const bytes = new Uint8Array([...encodeSpaceRow(prng.u32()), ...encodeUtf8(name)]);
    this.run(bytes);
    return bytes;
  },
  /** Four bytes of value, then the name. */
  run(bytes) {
    const key = new Uint8Array([...spacePrefix, ...bytes.subarray(4)]);
    const { name, number } = decodeSpaceRow(key, bytes.subarray(0, 4));
    sameBytes(key, spaceKey(name));
    sameBytes(bytes.subarray(0, 4), encodeSpaceRow(number));
  },
};

export const recordTargets: readonly Target[] = [
  frame,
  trailer,
  record,
  node,
  internalKey,
  sysKey,
  msgpack,
  metadata,
  spaceRow,
  ...indexTargets,
  ...tableTargets,
];
