/** Targets: file headers, the superblock, catalogs, log frames and their payloads, the lock record. */
import type { Prng } from '../../src/base/prng.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import { layoutBytes } from '../../src/codec/layout.ts';
import { type Catalog, decodeCatalogFile, encodeCatalogFile } from '../../src/format/catalog.ts';
import {
  decodeFileHeader,
  encodeFileHeader,
  fileHeader,
  formatVersion,
} from '../../src/format/file-header.ts';
import {
  catalogMagic,
  frameHeaderBytes,
  logFrame,
  readFrame,
  sealFrame,
} from '../../src/format/log-frame.ts';
import { openPayload } from '../../src/format/log-ops.ts';
import { decodeSuperSlot, encodeSuperSlot, type SuperSlot, superSlot } from '../../src/format/superblock.ts';
import { decodeLockRecord, encodeLockRecord } from '../../src/fs/lock-record.ts';
import { decodeOpen } from '../../src/log/log-reader.ts';
import { integer, ops } from './op-targets.ts';
import { sameBytes, sameValue, type Target } from './target.ts';

const file = 'fuzzed';
const place = { file, offset: 0 };
const salt = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
const dbUuid = Uint8Array.from({ length: 16 }, (_, i) => i + 50);
const seed = new FileSeed(salt);

const header: Target = {
  name: 'file header',
  sample(prng) {
    const fields = {
      kind: prng.pick(['wal', 'catalog', 'segment', 'table'] as const),
      subKind: prng.below(256),
      fileNo: integer(prng),
      dbUuid: prng.bytes(16),
      salt: prng.bytes(12),
    };
    const bytes = encodeFileHeader(fields);
    const { seed: _, ...decoded } = decodeFileHeader(bytes, fields, file);
    sameValue(decoded, fields);
    return bytes;
  },
  run(bytes) {
    const letter = bytes[3];
    const kind =
      letter === 0x57 ? 'wal' : letter === 0x43 ? 'catalog' : letter === 0x53 ? 'segment' : 'table';
    const decoded = decodeFileHeader(bytes, { kind }, file);
    // A newer minor version is read and never written.
    if (bytes[8] === (formatVersion & 255))
      sameBytes(bytes.subarray(0, fileHeader.size), encodeFileHeader(decoded));
  },
  reseal(bytes) {
    if (bytes.length >= fileHeader.size)
      writeChecksum(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum);
  },
};

const superTarget: Target = {
  name: 'super slot',
  sample(prng) {
    const generation = integer(prng);
    const fields: SuperSlot = {
      formatVersion,
      slotIndex: generation % 4,
      incompatFlags: 0,
      roCompatFlags: prng.u32(),
      compatFlags: prng.u32(),
      generation,
      dbUuid: prng.bytes(16),
      writerEpoch: integer(prng),
      catalogNo: integer(prng),
      catalogChecksum: BigInt(prng.u32()) << 31n,
      checkpointSeq: integer(prng),
      walFirstNo: integer(prng),
      timelineId: integer(prng),
      cleanShutdown: prng.chance(0.5),
      checksumAlgo: 1,
      idScheme: 1,
      chunkerAlgo: prng.below(256),
      chunkMin: prng.u32(),
      chunkAvg: prng.u32(),
      chunkMax: prng.u32(),
      inlineMax: prng.u32(),
      segTarget: prng.u32(),
      createdMs: integer(prng),
      writtenMs: integer(prng),
      chunkerNormalPoint: prng.u32(),
      chunkerStrict: prng.u32(),
      chunkerLoose: prng.u32(),
      chunkerKeyCheck: BigInt(prng.u32()),
      previousCatalogNo: integer(prng),
      previousCatalogChecksum: BigInt(prng.u32()),
    };
    const bytes = encodeSuperSlot(fields);
    sameValue(decodeSuperSlot(bytes, generation % 4, file), fields);
    return bytes;
  },
  run(bytes) {
    sameBytes(bytes, encodeSuperSlot(decodeSuperSlot(bytes, bytes[superSlot.at.slotIndex]! & 3, file)));
  },
  reseal(bytes) {
    if (bytes.length !== superSlot.size) return;
    const { checksum, slotIndex } = superSlot.at;
    writeChecksum(bytes, checksum, 0, checksum, BigInt(bytes[slotIndex]! & 3));
  },
};

function randomCatalog(prng: Prng): Catalog {
  const many = <T>(make: () => T): T[] => Array.from({ length: prng.below(4) }, make);
  return {
    no: 7,
    generation: integer(prng),
    previousCatalogNo: integer(prng),
    checkpointSeq: integer(prng),
    walFirstNo: integer(prng),
    nextFileNo: integer(prng),
    timelineId: integer(prng),
    features: 0,
    tables: many(() => ({
      no: integer(prng),
      size: integer(prng),
      entries: integer(prng),
      minSeq: integer(prng),
      maxSeq: integer(prng),
      checksum: BigInt(prng.u32()),
      minKey: prng.bytes(prng.below(40)),
      maxKey: prng.bytes(prng.below(40)),
      tree: prng.below(256),
      level: prng.below(256),
    })),
    sealed: many(() => ({
      no: integer(prng),
      size: integer(prng),
      dataLen: integer(prng),
      trailerChecksum: BigInt(prng.u32()),
      frames: prng.u32(),
      class: prng.below(256),
    })),
    unsealed: many(() => ({ no: integer(prng), committedOff8: prng.u32(), class: prng.below(256) })),
    dropped: many(() => ({ kind: prng.pick(['cat', 'wal', 'tab', 'seg'] as const), no: integer(prng) })),
  };
}

const catalog: Target = {
  name: 'catalog file',
  sample(prng) {
    const fields = randomCatalog(prng);
    const { bytes, bodyChecksum } = encodeCatalogFile(fields, { dbUuid, salt });
    const decoded = decodeCatalogFile(bytes, { no: 7, dbUuid }, file);
    sameValue(decoded, { catalog: fields, bodyChecksum, damage: undefined });
    return bytes;
  },
  run(bytes) {
    const { catalog: decoded } = decodeCatalogFile(bytes, { no: 7, dbUuid }, file);
    // The frame around a body has fields that a catalog does not use: the value is what must be stable.
    const again = encodeCatalogFile(decoded, { dbUuid, salt }).bytes;
    sameValue(decodeCatalogFile(again, { no: 7, dbUuid }, file).catalog, decoded);
  },
  reseal(bytes) {
    header.reseal!(bytes);
    const second = fileHeader.size + (bytes.length - fileHeader.size) / 2;
    for (const at of [fileHeader.size, second])
      resealFrame(bytes, at, bytes.subarray(fileHeader.at.salt, 52));
  },
};

/** Fits the checksum of the frame at `at` to whatever length it claims, where that lies inside. */
function resealFrame(bytes: Uint8Array, at: number, fileSalt: Uint8Array): void {
  if (!Number.isInteger(at) || at + frameHeaderBytes > bytes.length) return;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + logFrame.at.payloadLen, true);
  const end = at + frameHeaderBytes + length;
  if (end > bytes.length) return;
  const from = at + logFrame.at.seqFirst;
  writeChecksum(bytes, at + logFrame.at.checksum, from, end, new FileSeed(fileSalt).at(at));
}

const frame: Target = {
  name: 'log frame',
  sample(prng) {
    const payload = prng.bytes(prng.below(100));
    const fields = {
      type: 1 + prng.below(6),
      seqFirst: integer(prng, 2 ** 50),
      count: 1 + prng.below(1000),
      commitTimeMs: integer(prng),
      durableSeq: integer(prng),
    };
    const bytes = new Uint8Array(frameHeaderBytes + Math.ceil(payload.length / 8) * 8);
    bytes.set(payload, frameHeaderBytes);
    sealFrame(bytes, 0, payload.length, fields, seed, 0);
    const found = readFrame(bytes, 0, bytes.length, seed, 0);
    if (!found.ok) throw new Error(`own frame refused: ${found.reason}`);
    const { ok: _, payloadFrom, payloadTo, next, ...decoded } = found;
    sameValue(decoded, fields);
    sameBytes(bytes.subarray(payloadFrom, payloadTo), payload);
    if (next !== bytes.length) throw new Error('own frame has another length');
    return bytes;
  },
  run(bytes) {
    readFrame(bytes, 0, bytes.length, seed, 0, catalogMagic);
    const found = readFrame(bytes, 0, bytes.length, seed, 0);
    if (!found.ok) return;
    const again = bytes.slice(0, found.next);
    sealFrame(again, 0, found.payloadTo - found.payloadFrom, found, seed, 0);
    sameBytes(bytes.subarray(0, found.next), again);
  },
  reseal: (bytes) => resealFrame(bytes, 0, salt),
};

const open: Target = {
  name: 'OPEN payload',
  sample(prng) {
    const prevLastSeq = integer(prng, 2 ** 52);
    const fields = {
      prevFileNo: integer(prng),
      prevEndOffset: integer(prng),
      prevLastSeq,
      firstSeq: prevLastSeq + 1,
      writerEpoch: integer(prng),
      timelineId: integer(prng),
      durability: prng.below(3),
    };
    const bytes = layoutBytes(openPayload, fields);
    sameValue(decodeOpen(bytes, place), fields);
    return bytes;
  },
  run(bytes) {
    sameBytes(bytes.subarray(0, openPayload.size), layoutBytes(openPayload, decodeOpen(bytes, place)));
  },
};

const textBytes = 2048;

const lock: Target = {
  name: 'lock record',
  sample(prng) {
    const text = (): string =>
      Array.from(prng.bytes(prng.below(20)), (byte) => String.fromCharCode(32 + (byte % 95))).join('');
    const owner = {
      host: text(),
      bootId: text(),
      pid: integer(prng),
      pidNamespace: text(),
      processStart: text(),
      nonce: text(),
      providers: [text(), text()],
      writerEpoch: integer(prng),
      takenMs: integer(prng),
      touchedMs: integer(prng),
      touches: integer(prng),
      released: prng.chance(0.5),
    };
    const bytes = encodeLockRecord(owner);
    sameValue(decodeLockRecord(bytes, file), owner);
    return bytes;
  },
  run(bytes) {
    const owner = decodeLockRecord(bytes, file);
    // JSON has many forms of one record, and escapes may make it longer than it was.
    if (owner === null || JSON.stringify(owner).length > textBytes / 2) return;
    sameValue(decodeLockRecord(encodeLockRecord(owner), file), owner);
  },
  reseal(bytes) {
    const headBytes = 'varve-lock 1 0123456789abcdef\n'.length;
    for (const at of [0, textBytes]) {
      if (bytes.length < at + textBytes) return;
      const copy = bytes.subarray(at, at + textBytes);
      const sum = new Uint8Array(textBytes + 8);
      sum.set(copy);
      writeChecksum(sum, textBytes, headBytes, textBytes);
      const hex = Array.from(sum.subarray(textBytes).reverse(), (byte) =>
        byte.toString(16).padStart(2, '0'),
      ).join('');
      copy.set(new TextEncoder().encode(hex), 'varve-lock 1 '.length);
    }
  },
};

export const fileTargets: readonly Target[] = [header, superTarget, catalog, frame, ops, open, lock];
