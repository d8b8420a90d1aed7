import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { FileSeed, writeChecksum, xxh64 } from '../../src/codec/checksum.ts';
import { decodeLayout, layoutBytes, writeU64 } from '../../src/codec/layout.ts';
import { frameBytes } from '../../src/format/chunk-frame.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  type SegmentFooter,
  sealedSegmentBytes,
  segmentFooter,
  TrailerBuilder,
  trailerEntry,
} from '../../src/format/segment.ts';

const seed = new FileSeed(new Uint8Array(12).fill(7));
const file = 'seg/x';
const lengths = [5, 16, 300];

function build(byRecovery = false) {
  const builder = new TrailerBuilder();
  const ids = new Prng(9).bytes(32 * lengths.length);
  let at = 64;
  lengths.forEach((length, i) => {
    builder.add(ids, i * 32, at / 8, length, i === 2 ? 700 : length, i === 1 ? 1 : 0, i === 2 ? 2 : 0);
    at += frameBytes(length);
  });
  const { bytes, checksum } = builder.encode(at - 64, seed, byRecovery);
  const trailer = bytes.slice(0, lengths.length * 48);
  return {
    ids,
    trailer,
    footer: bytes.slice(trailer.length),
    checksum,
    dataLen: at - 64,
    size: at + bytes.length,
  };
}

const code = (wanted: string) => expect.objectContaining({ code: wanted, file });

/** The footer with `change` applied and its checksum made anew. */
function footerWith(change: (footer: Uint8Array, view: DataView) => void): () => SegmentFooter {
  const { footer, size } = build();
  change(footer, new DataView(footer.buffer));
  writeChecksum(footer, 56, 0, 56, seed.at(size - 64));
  return () => decodeSegmentFooter(footer, seed, size, file);
}

/** Decodes a trailer with `change` applied and checksums made anew. */
function trailerWith(change: (trailer: Uint8Array, view: DataView) => void): () => unknown {
  const built = build();
  change(built.trailer, new DataView(built.trailer.buffer));
  const footer = decodeSegmentFooter(built.footer, seed, built.size, file);
  return () => decodeTrailer(built.trailer, { ...footer, trailerChecksum: xxh64(built.trailer) }, file);
}

describe('segment trailer and footer', () => {
  test('have exactly these bytes', () => {
    const builder = new TrailerBuilder();
    builder.add(
      Uint8Array.from({ length: 32 }, (_, i) => i),
      0,
      8,
      10,
      20,
      1,
      2,
    );
    const { bytes } = builder.encode(80, seed, true);
    expect(toHex(bytes.subarray(0, 48))).toBe(
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f' + '080000000a0000001400000001200000',
    );
    expect(toHex(bytes.subarray(48))).toBe(
      '5652534547454e44010000000200000090000000000000003000000000000000' +
        '5000000000000000a4edb6d577d1e4aa0000000000000000f2002466c2b27638',
    );
  });

  test('round trip', () => {
    for (const byRecovery of [false, true]) {
      const { ids, trailer, footer, checksum, dataLen, size } = build(byRecovery);
      expect(size).toBe(sealedSegmentBytes(dataLen, lengths.length));
      const decoded = decodeSegmentFooter(footer, seed, size, file);
      expect(decoded).toEqual({
        frames: 3,
        dataLen,
        trailerOff: 64 + dataLen,
        trailerLen: 144,
        trailerChecksum: checksum,
        sealedByRecovery: byRecovery,
      });
      const entries = decodeTrailer(trailer, decoded, file);
      expect(entries).toEqual({
        count: 3,
        ids,
        off8: Uint32Array.of(8, 8 + 9, 8 + 9 + 10),
        storedLen: Uint32Array.from(lengths),
        rawLen: Uint32Array.of(5, 16, 700),
        kind: Uint8Array.of(0, 1, 0),
        codec: Uint8Array.of(0, 0, 2),
        complete: true,
      });
    }
  });

  test('entries written in place equal the layout table', () => {
    const { ids, trailer } = build();
    const entry = layoutBytes(trailerEntry, {
      chunkId: ids.slice(64, 96),
      off8: 27,
      storedLen: 300,
      rawLen: 700,
      kind: 0,
      codecCipher: 0x20,
      keyEpoch: 0,
    });
    expect(trailer.subarray(96)).toEqual(entry);
    expect(decodeLayout(trailerEntry, trailer, 96, { file }).off8).toBe(27);
  });

  test('every single bit flip is refused', () => {
    const { trailer, footer, size } = build();
    for (let bit = 0; bit < 64 * 8; bit++) {
      footer[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeSegmentFooter(footer, seed, size, file)).toThrow(code('VARVE_CORRUPT'));
      footer[bit >> 3]! ^= 1 << (bit & 7);
    }
    const decoded = decodeSegmentFooter(footer, seed, size, file);
    for (let bit = 0; bit < trailer.length * 8; bit++) {
      trailer[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeTrailer(trailer, decoded, file)).toThrow(code('VARVE_CORRUPT'));
      trailer[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test('a footer of another file, or at another place, is refused', () => {
    const { footer, size } = build();
    const other = new FileSeed(new Uint8Array(12).fill(8));
    expect(() => decodeSegmentFooter(footer, other, size, file)).toThrow(code('VARVE_CORRUPT'));
    expect(() => decodeSegmentFooter(footer, seed, size + 8, file)).toThrow(code('VARVE_CORRUPT'));
  });

  test('lengths that do not add up are refused under a valid checksum', () => {
    const at = segmentFooter.at;
    expect(footerWith((_, view) => view.setUint32(at.frameCount, 2, true))).toThrow(code('VARVE_CORRUPT'));
    expect(footerWith((_, view) => writeU64(view, at.trailerOff, 72))).toThrow(code('VARVE_CORRUPT'));
    expect(footerWith((_, view) => view.setUint32(at.trailerLen, 96, true))).toThrow(code('VARVE_CORRUPT'));
    expect(footerWith((_, view) => writeU64(view, at.dataLen, 2 ** 52))).toThrow(code('VARVE_CORRUPT'));
    expect(footerWith((bytes) => bytes.fill(1, 28, 32))).toThrow(code('VARVE_CORRUPT'));
  });

  test('encrypted trailers and unknown flags are refused as a newer format', () => {
    for (const flags of [1, 4, 0x80000000]) {
      expect(footerWith((_, view) => view.setUint32(segmentFooter.at.flags, flags, true))).toThrow(
        code('VARVE_FORMAT_VERSION'),
      );
    }
    for (const [at, value] of [
      [trailerEntry.at.kind, 3],
      [trailerEntry.at.codecCipher, 0x50],
      [trailerEntry.at.codecCipher, 0x01],
      [trailerEntry.at.keyEpoch, 1],
      [trailerEntry.at.keyEpoch + 1, 1],
    ] as const) {
      expect(trailerWith((bytes) => bytes.fill(value, 48 + at, 49 + at))).toThrow(
        code('VARVE_FORMAT_VERSION'),
      );
    }
  });

  test('trailer entries that leave a gap or overlap are refused', () => {
    const at = trailerEntry.at;
    expect(trailerWith(() => undefined)).not.toThrow();
    expect(trailerWith((_, view) => view.setUint32(at.off8, 9, true))).toThrow(code('VARVE_CORRUPT'));
    expect(trailerWith((_, view) => view.setUint32(48 + at.off8, 16, true))).toThrow(code('VARVE_CORRUPT'));
    expect(trailerWith((_, view) => view.setUint32(96 + at.storedLen, 290, true))).toThrow(
      code('VARVE_CORRUPT'),
    );
    expect(trailerWith((_, view) => view.setUint32(at.storedLen, 2 ** 32 - 1, true))).toThrow(
      code('VARVE_CORRUPT'),
    );
    expect(trailerWith((_, view) => view.setUint32(at.rawLen, 4, true))).toThrow(code('VARVE_CORRUPT'));
  });

  test('a cut-off trailer is refused', () => {
    const { trailer, footer, size } = build();
    const decoded = decodeSegmentFooter(footer, seed, size, file);
    expect(() => decodeTrailer(trailer.subarray(0, 96), decoded, file)).toThrow(code('VARVE_CORRUPT'));
  });

  test('the builder keeps every entry while it grows', () => {
    const builder = new TrailerBuilder();
    const ids = new Prng(3).bytes(32 * 1000);
    for (let i = 0; i < 1000; i++) builder.add(ids, i * 32, i, i, i, 0, 0);
    const trailer = builder.toTrailer(false);
    expect(trailer.count).toBe(1000);
    expect(trailer.complete).toBe(false);
    expect(trailer.ids).toEqual(ids);
    expect(trailer.off8[999]).toBe(999);
  });
});
