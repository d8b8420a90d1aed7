/**
 * SUPER: four slots of 4096 bytes, overwritten in place; generation g lies in slot g mod 4 and the newest
 * valid slot wins. A slot names the current catalog and the one installed before it, so that losing either
 * the newest slot or the newest catalog loses nothing.
 */
import { assert } from '../base/assert.ts';
import type { FileNo, Seq } from '../base/brands.ts';
import { equalBytes, isZero, viewOf } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, type Values } from '../codec/layout.ts';
import { magicOf } from './file-header.ts';
import { incompatFeatures, knowsVersion, newerFormat, unknownFlags, versionLabel } from './format-ladder.ts';

/** Bytes of one slot. */
export const slotBytes = 4096;
/** Slots in SUPER. */
export const slotCount = 4;

/** Value of checksumAlgo. Never changed, never reused. */
export const checksumAlgos = { xxh64: 1 } as const;
/** Value of idScheme. Never changed, never reused; this build knows `sha256`. */
export const idSchemes = { sha256: 1, hmacSha256: 2 } as const;

const superMagic = magicOf(0x55);

export const superSlot = defineLayout('super', 'superblock slot', slotBytes, {
  magic: f(0, 8, "89 'V' 'R' 'U' 0D 0A 1A 0A. guards: not our file, text-mode copy"),
  formatVersion: f(8, 'u16', 'major << 8 | minor'),
  slotIndex: f(10, 'u16', 'generation mod 4. guards: misdirected write'),
  incompatFlags: f(12, 'u32', 'features a reader must know; any unknown one = refuse'),
  roCompatFlags: f(16, 'u32', 'features a writer must know; any unknown one = read only'),
  compatFlags: f(20, 'u32', 'features that may be ignored'),
  generation: f(24, 'u64', 'rises by one with every slot written; the highest valid slot wins'),
  dbUuid: f(32, 16, 'identity of the store, repeated in every file'),
  writerEpoch: f(48, 'u64', '+1 at every open for write. guards: a writer that lost its lock'),
  catalogNo: f(56, 'u64', 'file number of the current catalog'),
  catalogChecksum: f(64, 'hash64', 'xxh64 of its body. guards: another file under that number'),
  checkpointSeq: f(72, 'u64', 'copy for people; the catalog is authoritative'),
  walFirstNo: f(80, 'u64', 'copy for people: first log file the catalog needs, 0 = none was made yet'),
  timelineId: f(88, 'u64', 'branch of history; changes when a store is restored to a point in time'),
  keysGen: f(96, 'u64', 'zero; anything else is an encrypted store and is refused'),
  cleanShutdown: f(104, 'u8', '1 = closed cleanly: a shortened log is damage, not a torn tail'),
  checksumAlgo: f(105, 'u8', '1 = xxh64'),
  idScheme: f(106, 'u8', '1 = SHA-256'),
  chunkerAlgo: f(107, 'u8', 'which content-defined chunker cuts values'),
  chunkMin: f(108, 'u32', 'smallest chunk but the last, bytes'),
  chunkAvg: f(112, 'u32', 'mean chunk aimed at, bytes'),
  chunkMax: f(116, 'u32', 'largest chunk, bytes'),
  inlineMax: f(120, 'u32', 'values up to this many bytes lie in the key tree'),
  segTarget: f(124, 'u32', 'a segment is sealed at this many bytes'),
  createdMs: f(128, 'u64', 'ms since 1970 when the store was made'),
  writtenMs: f(136, 'u64', 'ms since 1970 when this slot was written'),
  keysHash: f(144, 32, 'zero; digest of the key file of an encrypted store'),
  chunkerNormalPoint: f(176, 'u32', 'chunker: length at which the loose threshold takes over'),
  chunkerStrict: f(180, 'u32', 'chunker: threshold before the normal point'),
  chunkerLoose: f(184, 'u32', 'chunker: threshold after the normal point'),
  reservedChunker: f(188, 'u32', 'zero'),
  chunkerKeyCheck: f(192, 'hash64', 'check value of the derived chunker key'),
  previousCatalogNo: f(200, 'u64', 'file number of the catalog installed before the current one, 0 = none'),
  previousCatalogChecksum: f(208, 'hash64', 'xxh64 of its body'),
  reserved: f(216, 3872, 'zero'),
  checksum: f(4088, 'hash64', 'xxh64(slotIndex; bytes 0..4087). guards: torn write, slot at another place'),
});

/** One generation of the superblock. */
export interface SuperSlot {
  formatVersion: number;
  slotIndex: number;
  incompatFlags: number;
  /** Unknown bits are left to the caller: the store may then be read, not written. */
  roCompatFlags: number;
  compatFlags: number;
  generation: number;
  /** 16 bytes. */
  dbUuid: Uint8Array;
  writerEpoch: number;
  catalogNo: FileNo;
  catalogChecksum: bigint;
  checkpointSeq: Seq;
  walFirstNo: FileNo;
  timelineId: number;
  cleanShutdown: boolean;
  checksumAlgo: number;
  idScheme: number;
  chunkerAlgo: number;
  chunkMin: number;
  chunkAvg: number;
  chunkMax: number;
  inlineMax: number;
  segTarget: number;
  createdMs: number;
  writtenMs: number;
  chunkerNormalPoint: number;
  chunkerStrict: number;
  chunkerLoose: number;
  chunkerKeyCheck: bigint;
  previousCatalogNo: FileNo;
  previousCatalogChecksum: bigint;
}

/** The slot generation `generation` is written to. */
export function slotIndexOf(generation: number): number {
  return generation % slotCount;
}

/** The 4096 bytes of a slot (a new buffer). `slot.slotIndex` must be generation mod 4. */
export function encodeSuperSlot(slot: SuperSlot): Uint8Array {
  assert(slot.slotIndex === slotIndexOf(slot.generation), 'slot index follows from the generation');
  const out = new Uint8Array(slotBytes);
  encodeLayout(
    superSlot,
    {
      ...slot,
      magic: superMagic,
      cleanShutdown: slot.cleanShutdown ? 1 : 0,
      keysGen: 0,
      keysHash: new Uint8Array(32),
      checksum: 0n,
    },
    out,
  );
  writeChecksum(out, superSlot.at.checksum, 0, superSlot.at.checksum, BigInt(slot.slotIndex));
  return out;
}

/**
 * Decodes the slot that lies at `slotIndex * 4096` of `file`; `bytes` are its 4096 bytes (borrowed).
 * VARVE_CORRUPT on damage or a slot at the wrong place, VARVE_FORMAT_VERSION on a newer format, unknown
 * incompatible features or an encrypted store.
 */
export function decodeSuperSlot(bytes: Uint8Array, slotIndex: number, file: string): SuperSlot {
  const base = slotIndex * slotBytes;
  const place: Place = { file, offset: base };
  if (bytes.length !== slotBytes) throw corrupt('superblock slot is cut off', place, slotBytes, bytes.length);
  const magic = bytes.subarray(0, superMagic.length);
  if (!equalBytes(magic, superMagic)) throw corrupt('wrong magic', place, superMagic, magic.slice());
  if (!checksumMatches(bytes, superSlot.at.checksum, 0, superSlot.at.checksum, BigInt(slotIndex)))
    throw corrupt('superblock slot fails its checksum', place);
  refuseNewer(bytes, place);
  const values = decodeLayout(superSlot, bytes, 0, place);
  const indexPlace = { file, offset: base + superSlot.at.slotIndex };
  if (values.slotIndex !== slotIndex)
    throw corrupt('slot at the wrong place', indexPlace, slotIndex, values.slotIndex);
  if (slotIndexOf(values.generation) !== slotIndex)
    throw corrupt('generation does not belong to this slot', indexPlace, slotIndex, values.generation);
  return slotOf(values, place);
}

/** Version and features come first: a newer format may use what is reserved here. */
function refuseNewer(bytes: Uint8Array, place: Place): void {
  const view = viewOf(bytes);
  const at = (field: keyof typeof superSlot.at): Place => ({
    file: place.file,
    offset: (place.offset ?? 0) + superSlot.at[field],
  });
  const version = view.getUint16(superSlot.at.formatVersion, true);
  if (!knowsVersion(version))
    throw newerFormat(
      `format version ${versionLabel(version)} is not known to this build`,
      at('formatVersion'),
    );
  if (unknownFlags(view.getUint32(superSlot.at.incompatFlags, true), incompatFeatures) !== 0)
    throw newerFormat('an unknown incompatible feature is in use', at('incompatFlags'));
  const { keysGen, keysHash, checksumAlgo, idScheme } = superSlot.at;
  if (!isZero(bytes, keysGen, keysGen + 8) || !isZero(bytes, keysHash, keysHash + 32))
    throw newerFormat('the store is encrypted', at('keysGen'));
  if (bytes[checksumAlgo] !== checksumAlgos.xxh64)
    throw newerFormat('an unknown checksum is in use', at('checksumAlgo'));
  if (bytes[idScheme] !== idSchemes.sha256)
    throw newerFormat('an unknown scheme of chunk ids is in use', at('idScheme'));
}

function slotOf(values: Values<typeof superSlot.fields>, place: Place): SuperSlot {
  const { cleanShutdown } = values;
  if (cleanShutdown > 1) {
    const offset = (place.offset ?? 0) + superSlot.at.cleanShutdown;
    throw corrupt('cleanShutdown is neither 0 nor 1', { file: place.file, offset }, '0 or 1', cleanShutdown);
  }
  return {
    formatVersion: values.formatVersion,
    slotIndex: values.slotIndex,
    incompatFlags: values.incompatFlags,
    roCompatFlags: values.roCompatFlags,
    compatFlags: values.compatFlags,
    generation: values.generation,
    dbUuid: values.dbUuid,
    writerEpoch: values.writerEpoch,
    catalogNo: values.catalogNo,
    catalogChecksum: values.catalogChecksum,
    checkpointSeq: values.checkpointSeq,
    walFirstNo: values.walFirstNo,
    timelineId: values.timelineId,
    cleanShutdown: cleanShutdown === 1,
    checksumAlgo: values.checksumAlgo,
    idScheme: values.idScheme,
    chunkerAlgo: values.chunkerAlgo,
    chunkMin: values.chunkMin,
    chunkAvg: values.chunkAvg,
    chunkMax: values.chunkMax,
    inlineMax: values.inlineMax,
    segTarget: values.segTarget,
    createdMs: values.createdMs,
    writtenMs: values.writtenMs,
    chunkerNormalPoint: values.chunkerNormalPoint,
    chunkerStrict: values.chunkerStrict,
    chunkerLoose: values.chunkerLoose,
    chunkerKeyCheck: values.chunkerKeyCheck,
    previousCatalogNo: values.previousCatalogNo,
    previousCatalogChecksum: values.previousCatalogChecksum,
  };
}
