import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import {
  type ArchivedFrame,
  decodeArchive,
  decodeArchiveEnd,
  encodeArchive,
  encodeArchiveEnd,
} from '../../src/format/vault-archive.ts';
import { archiveDir, archiveEndName, archiveName, parseArchiveName } from '../../src/format/vault-names.ts';

const vaultId = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const salt = Uint8Array.from({ length: 12 }, (_, i) => 0xa0 + i);
const dbUuid = Uint8Array.from({ length: 16 }, (_, i) => i + 65);
const span = { dbUuid, timelineId: 2, firstSeq: 5, lastSeq: 9 };
const frames: ArchivedFrame[] = [
  { seqFirst: 5, count: 2, commitTimeMs: 1_700_000_000_000, payload: Uint8Array.of(1, 2, 3) },
  { seqFirst: 8, count: 1, commitTimeMs: 1_700_000_000_007, payload: Uint8Array.of(4) },
];
const named = { firstSeq: 5, lastSeq: 9 };
const encoded = (): Uint8Array => encodeArchive(vaultId, salt, span, frames);

function everyFlip(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): void {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    let code: unknown;
    try {
      decode(damaged);
    } catch (error) {
      code = (error as { code?: unknown }).code;
    }
    expect(['VARVE_CORRUPT', 'VARVE_FORMAT_VERSION'], `bit ${bit}`).toContain(code);
  }
}

describe('an archived log', () => {
  test('has its golden bytes', () => {
    expect(toHex(encoded())).toBe(goldenArchive);
    expect(toHex(encodeArchiveEnd({ seq: 9, coveredMs: 1_700_000_000_009 }))).toBe(goldenEnd);
  });

  test('comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), (payloads) => {
        const some = payloads.map((payload, i) => ({
          seqFirst: 5 + i,
          count: 1,
          commitTimeMs: 1000 + i,
          payload,
        }));
        const last = { firstSeq: 5, lastSeq: 20 };
        const bytes = encodeArchive(vaultId, salt, { ...span, ...last }, some);
        const archive = decodeArchive(bytes, 'x', vaultId, last);
        const back = archive.frames.map(({ seqFirst, count, commitTimeMs, payloadFrom, payloadTo }) => {
          return { seqFirst, count, commitTimeMs, payload: bytes.slice(payloadFrom, payloadTo) };
        });
        expect(back).toEqual(some);
        expect(archive).toMatchObject({ ...last, timelineId: 2 });
      }),
    );
    const end = { seq: 7, coveredMs: 123 };
    expect(decodeArchiveEnd(encodeArchiveEnd(end), 'x')).toEqual(end);
  });

  test('is refused with any bit flipped, cut off, or under another name', () => {
    const bytes = encoded();
    const decode = (some: Uint8Array) => decodeArchive(some, 'x', vaultId, named);
    everyFlip(bytes, decode);
    everyFlip(encodeArchiveEnd({ seq: 9, coveredMs: 5 }), (some) => decodeArchiveEnd(some, 'x'));
    for (let length = 0; length < bytes.length; length++)
      expect(() => decode(bytes.subarray(0, length)), `${length}`).toThrow();
    expect(() => decodeArchive(bytes, 'x', vaultId, { ...named, lastSeq: 10 })).toThrow('another name');
    expect(() => decodeArchive(bytes, 'x', dbUuid, named)).toThrow();
  });

  test('names lead back to what they are of', () => {
    const dir = archiveDir(toHex(dbUuid), 3);
    expect(parseArchiveName(archiveName(dir, 5, 9))).toEqual({
      ...{ dir, store: toHex(dbUuid), timelineId: 3, firstSeq: 5, lastSeq: 9 },
    });
    expect(parseArchiveName(archiveEndName(dir))).toEqual({ dir, store: toHex(dbUuid), timelineId: 3 });
    for (const bad of [
      'wal/x',
      `${dir}0-1.wal`,
      archiveName(dir, 9, 5),
      archiveName(dir, 0, 5),
      `${dir}other`,
    ])
      expect(parseArchiveName(bad), bad).toBeUndefined();
  });
});

const goldenArchive =
  '895652420d0a1a0a000142030000000000000000000000000102030405060708090a0b0c0d0e0f10a0a1a2a3a4a5a6a7a8a9' +
  'aaab00000000216ce0c3133f1d91e22054e5a66cecdc4142434445464748494a4b4c4d4e4f50020000000000000005000000' +
  '0000000009000000000000000068e5cf8b0100000768e5cf8b01000002000000000000000001000000000000565257460300' +
  '000059e4287b130c665e050000000000000002000000020000000068e5cf8b01000000000000000000000102030000000000' +
  '56525746010000005c22371fdd20c8ef080000000000000001000000020000000768e5cf8b01000000000000000000000400' +
  '000000000000';
const goldenEnd = '09000000000000000968e5cf8b01000069955786be3e7c71';
