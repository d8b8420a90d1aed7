import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { checksumMatches, writeChecksum } from '../../src/codec/checksum.ts';
import { encodeLayout, layoutBytes } from '../../src/codec/layout.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  chunkFrameBytesMax,
  chunkFrameError,
  chunkFrameMagic,
  chunkPayloadBytesMax,
  encodeChunkFrame,
  frameBytes,
} from '../../src/format/chunk-frame.ts';

const id = Uint8Array.from({ length: 32 }, (_, i) => i + 1);

function frameOf(payload: Uint8Array, kind = 0, codec = 0, rawLen = payload.length, at = 0): Uint8Array {
  const out = new Uint8Array(at + frameBytes(payload.length)).fill(0xee);
  out.set(payload, at + chunkFrame.size);
  expect(encodeChunkFrame(out, at, id, 0, payload.length, rawLen, kind, codec)).toBe(out.length);
  return out;
}

const check = (bytes: Uint8Array, at = 0, end = bytes.length, out = new ChunkFrame()) =>
  checkChunkFrame(bytes, at, end, out);

/** The frame with one header field changed and its checksum made anew. */
function changed(
  field: 'version' | 'kind' | 'codec' | 'cipher' | 'rawLen' | 'keyEpoch' | 'padLen',
  value: number,
) {
  const bytes = frameOf(new Prng(1).bytes(13));
  const width = chunkFrame.fields[field].size;
  for (let i = 0; i < width; i++) bytes[chunkFrame.at[field] + i] = value >>> (8 * i);
  writeChecksum(bytes, 8, 16, 64 + 13);
  return bytes;
}

describe('chunk frame', () => {
  test('has exactly these bytes', () => {
    const bytes = frameOf(fromHex('a1a2a3a4a5'), 1, 0);
    expect(toHex(bytes)).toBe(
      '565243460500000084a7c41f811ebe2b01010000050000000000000000000000' +
        '0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20' +
        'a1a2a3a4a5000000',
    );
  });

  test('written in place equals the layout table', () => {
    const payload = new Prng(5).bytes(21);
    const bytes = frameOf(payload, 2, 2, 99);
    const header = layoutBytes(chunkFrame, {
      magic: chunkFrameMagic,
      storedLen: 21,
      checksum: new DataView(bytes.buffer).getBigUint64(8, true),
      version: 1,
      kind: 2,
      codec: 2,
      cipher: 0,
      rawLen: 99,
      keyEpoch: 0,
      padLen: 0,
      chunkId: id,
    });
    expect(bytes.subarray(0, 64)).toEqual(header);
    expect(checksumMatches(bytes, 8, 16, 64 + 21)).toBe(true);
  });

  test('round trips at any position, with stale bytes around it', () => {
    const prng = new Prng(7);
    for (const length of [0, 1, 7, 8, 9, 63, 64, 1000]) {
      const payload = prng.bytes(length);
      const bytes = frameOf(payload, 0, 0, length, 40);
      const out = new ChunkFrame();
      expect(check(bytes, 40, bytes.length, out)).toBe('ok');
      expect(bytes.subarray(out.payloadFrom, out.payloadTo)).toEqual(payload);
      expect(bytes.subarray(out.idAt, out.idAt + 32)).toEqual(id);
      expect([out.storedLen, out.rawLen, out.kind, out.codec, out.next]).toEqual([
        length,
        length,
        0,
        0,
        bytes.length,
      ]);
    }
  });

  test('every single bit flip is refused', () => {
    const bytes = frameOf(new Prng(3).bytes(21));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(check(bytes), `bit ${bit}`).not.toBe('ok');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(check(bytes)).toBe('ok');
  });

  test('a frame cut off anywhere says how long it would be', () => {
    const bytes = frameOf(new Prng(3).bytes(21));
    const out = new ChunkFrame();
    for (let end = 0; end < bytes.length; end++) {
      expect(check(bytes, 0, end, out)).toBe('cut off');
      expect(out.next).toBe(end < 64 ? 64 : bytes.length);
    }
  });

  test('a copy elsewhere verifies, so frames can be moved verbatim', () => {
    const bytes = frameOf(new Prng(4).bytes(33));
    const moved = new Uint8Array(bytes.length + 24);
    moved.set(bytes, 24);
    expect(check(moved, 24)).toBe('ok');
  });

  test('newer versions, kinds and codecs, and encryption, are refused as a newer format', () => {
    for (const bytes of [
      changed('version', 2),
      changed('version', 0),
      changed('kind', 3),
      changed('codec', 5),
      changed('cipher', 1),
      changed('keyEpoch', 1),
      changed('padLen', 1),
    ]) {
      expect(check(bytes)).toBe('unsupported');
    }
    expect(chunkFrameError('unsupported', 'f', 64)).toMatchObject({
      code: 'VARVE_FORMAT_VERSION',
      file: 'f',
      offset: 64,
    });
  });

  test('lengths are refused one past their bound', () => {
    expect(check(changed('rawLen', 12))).toBe('length');
    const compressed = frameOf(new Prng(1).bytes(13), 0, 2, chunkPayloadBytesMax);
    expect(check(compressed)).toBe('ok');
    expect(check(frameOf(new Prng(1).bytes(13), 0, 2, chunkPayloadBytesMax + 1))).toBe('length');
    const header = new Uint8Array(64);
    const values = {
      checksum: 0n,
      version: 1,
      kind: 0,
      codec: 0,
      cipher: 0,
      rawLen: 0,
      keyEpoch: 0,
      padLen: 0,
      chunkId: id,
    };
    encodeLayout(chunkFrame, { magic: chunkFrameMagic, storedLen: chunkPayloadBytesMax, ...values }, header);
    expect(check(header)).toBe('cut off');
    encodeLayout(
      chunkFrame,
      { magic: chunkFrameMagic, storedLen: chunkPayloadBytesMax + 1, ...values },
      header,
    );
    expect(check(header)).toBe('length');
    expect(chunkFrameBytesMax).toBe(64 + chunkPayloadBytesMax);
  });

  test('every verdict becomes an error with file and offset', () => {
    for (const verdict of ['cut off', 'magic', 'length', 'checksum', 'padding'] as const) {
      expect(chunkFrameError(verdict, 'seg/1', 72)).toMatchObject({
        code: 'VARVE_CORRUPT',
        file: 'seg/1',
        offset: 72,
      });
    }
  });
});
