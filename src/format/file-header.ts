/** The common header that opens every file but SUPER, LOCK, leases and the reserve. */

import { equalBytes } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { checksumMatches, FileSeed, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f, type Values } from '../codec/layout.ts';

/** major << 8 | minor of the formats this build writes. */
export const formatVersion = 0x0100;

/** File kinds: the letter in the magic, repeated as a byte. Never changed, never reused. */
export const fileKinds = {
  wal: 0x57,
  catalog: 0x43,
  segment: 0x53,
  table: 0x54,
  keys: 0x4b,
  pack: 0x50,
  index: 0x49,
  backup: 0x42,
} as const;
export type FileKind = keyof typeof fileKinds;

export const fileHeader = defineLayout('common', 'file header', 64, {
  magic: f(0, 8, "89 'V' 'R' kind 0D 0A 1A 0A. guards: not our file, text-mode copy"),
  formatVersion: f(8, 'u16', 'major << 8 | minor'),
  fileKind: f(10, 'u8', 'repeats the letter of the magic: W C S T K P I B'),
  subKind: f(11, 'u8', 'tree id (table), stream class (segment), else 0'),
  incompatFlags: f(12, 'u32', 'features a reader must know; any unknown one = refuse'),
  fileNo: f(16, 'u64', 'guards: renamed file'),
  dbUuid: f(24, 16, 'guards: file of another store'),
  salt: f(40, 12, 'random per file: seeds its checksums. guards: recycled blocks, swapped files'),
  keyEpoch: f(52, 'u32', '0 = plaintext; anything else is refused'),
  checksum: f(56, 'hash64', 'xxh64(0; bytes 0..55)'),
});

export interface FileHeader {
  kind: FileKind;
  subKind: number;
  fileNo: number;
  dbUuid: Uint8Array;
  /** 12 random bytes. */
  salt: Uint8Array;
}

export function magicOf(letter: number): Uint8Array {
  return Uint8Array.of(0x89, 0x56, 0x52, letter, 0x0d, 0x0a, 0x1a, 0x0a);
}

export function encodeFileHeader(header: FileHeader): Uint8Array {
  const out = new Uint8Array(fileHeader.size);
  encodeLayout(
    fileHeader,
    {
      magic: magicOf(fileKinds[header.kind]),
      formatVersion,
      fileKind: fileKinds[header.kind],
      subKind: header.subKind,
      incompatFlags: 0,
      fileNo: header.fileNo,
      dbUuid: header.dbUuid,
      salt: header.salt,
      keyEpoch: 0,
      checksum: 0n,
    },
    out,
  );
  writeChecksum(out, fileHeader.at.checksum, 0, fileHeader.at.checksum);
  return out;
}

/** What a reader knows about the file it opens; every given field is checked. */
export interface ExpectedHeader {
  kind: FileKind;
  fileNo?: number;
  dbUuid?: Uint8Array;
}

export interface CheckedHeader extends FileHeader {
  /** Seeds the checksums of the file's structures. */
  seed: FileSeed;
}

/**
 * Decodes and checks the first 64 bytes of a file. VARVE_CORRUPT on damage or a file that is not the
 * expected one, VARVE_FORMAT_VERSION on a newer format, unknown flags or encryption.
 */
export function decodeFileHeader(bytes: Uint8Array, expected: ExpectedHeader, file: string): CheckedHeader {
  const place: Place = { file, offset: 0 };
  const values = decodeLayout(fileHeader, bytes, 0, place);
  if (!equalBytes(values.magic, magicOf(fileKinds[expected.kind]))) {
    throw corrupt('wrong magic', place, magicOf(fileKinds[expected.kind]), values.magic);
  }
  if (!checksumMatches(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum)) {
    throw corrupt('file header fails its checksum', place);
  }
  refuseUnknown(values, file);
  if (values.fileKind !== fileKinds[expected.kind]) {
    throw corrupt(
      'wrong file kind',
      { file, offset: fileHeader.at.fileKind },
      fileKinds[expected.kind],
      values.fileKind,
    );
  }
  if (expected.fileNo !== undefined && values.fileNo !== expected.fileNo) {
    throw corrupt(
      'file number differs',
      { file, offset: fileHeader.at.fileNo },
      expected.fileNo,
      values.fileNo,
    );
  }
  if (expected.dbUuid !== undefined && !equalBytes(values.dbUuid, expected.dbUuid)) {
    throw corrupt(
      'file of another store',
      { file, offset: fileHeader.at.dbUuid },
      expected.dbUuid,
      values.dbUuid,
    );
  }
  return {
    kind: expected.kind,
    subKind: values.subKind,
    fileNo: values.fileNo,
    dbUuid: values.dbUuid,
    salt: values.salt,
    seed: new FileSeed(values.salt),
  };
}

function refuseUnknown(values: Values<typeof fileHeader.fields>, file: string): void {
  const refuse = (what: string, offset: number): VarveError =>
    new VarveError('VARVE_FORMAT_VERSION', `${file}: ${what}; a newer version of varve is needed`, {
      file,
      offset,
    });
  if (values.formatVersion >> 8 !== formatVersion >> 8) {
    const found = `${values.formatVersion >> 8}.${values.formatVersion & 255}`;
    throw refuse(`format version ${found} is not known to this build`, fileHeader.at.formatVersion);
  }
  if (values.incompatFlags !== 0)
    throw refuse('an unknown incompatible feature is in use', fileHeader.at.incompatFlags);
  if (values.keyEpoch !== 0) throw refuse('the file is encrypted', fileHeader.at.keyEpoch);
}
