import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex, viewOf } from '../../src/base/bytes.ts';
import { framePayloadBytesMax } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { FileSeed, writeChecksum } from '../../src/codec/checksum.ts';
import {
  catalogMagic,
  frameBytes,
  frameHeaderBytes,
  frameTypes,
  lastSeqOf,
  logFrame,
  mayBeFrame,
  readFrame,
  sealFrame,
} from '../../src/format/log-frame.ts';

const seed = new FileSeed(Uint8Array.from({ length: 12 }, (_, i) => i + 1));
const header = {
  type: frameTypes.batch,
  seqFirst: 41,
  count: 2,
  commitTimeMs: 1_700_000_000_123,
  durableSeq: 40,
};

function frameOf(payload: Uint8Array, fileOffset = 64): Uint8Array {
  const buf = new Uint8Array(frameBytes(payload.length)).fill(0xee);
  buf.set(payload, frameHeaderBytes);
  expect(sealFrame(buf, 0, payload.length, header, seed, fileOffset)).toBe(buf.length);
  return buf;
}

describe('log frame', () => {
  test('has the bytes that version 1.0 wrote', () => {
    expect(toHex(frameOf(Uint8Array.of(1, 2, 3, 4, 5)))).toBe(golden);
  });

  test('reads back at its place with zero padding, inside a larger buffer too', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(5), fc.maxSafeNat(), (length, blocks, offset) => {
        const payload = new Prng(length).bytes(length);
        const at = blocks * 8;
        const buf = new Uint8Array(at + frameBytes(length) + 24).fill(0xaa);
        buf.set(payload, at + frameHeaderBytes);
        const total = sealFrame(buf, at, length, header, seed, offset);
        const read = readFrame(buf, at, at + total, seed, offset);
        if (!read.ok) throw new Error(read.reason);
        expect(buf.subarray(read.payloadFrom, read.payloadTo)).toEqual(payload);
        expect(read).toMatchObject({ ...header, next: at + total });
        expect(lastSeqOf(read)).toBe(42);
        expect(mayBeFrame(viewOf(buf), at)).toBe(true);
      }),
    );
  });

  test('any flipped bit is found', () => {
    const buf = frameOf(new Prng(5).bytes(45));
    for (let bit = 0; bit < buf.length * 8; bit++) {
      buf[bit >> 3]! ^= 1 << (bit & 7);
      expect(readFrame(buf, 0, buf.length, seed, 64).ok, `bit ${bit}`).toBe(false);
      buf[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test('a frame moved to another offset or another file does not validate', () => {
    const buf = frameOf(new Prng(6).bytes(16));
    expect(readFrame(buf, 0, buf.length, seed, 72)).toMatchObject({ ok: false, reason: 'checksum' });
    const other = new FileSeed(new Uint8Array(12).fill(1));
    expect(readFrame(buf, 0, buf.length, other, 64)).toMatchObject({ ok: false, reason: 'checksum' });
  });

  test('says why bytes are no frame', () => {
    const buf = frameOf(new Prng(7).bytes(13));
    const reason = (bytes: Uint8Array, end = bytes.length): unknown => readFrame(bytes, 0, end, seed, 64);
    expect(reason(buf, 47)).toMatchObject({ reason: 'cut off' });
    expect(reason(buf, buf.length - 8)).toMatchObject({ reason: 'cut off' });
    expect(reason(new Uint8Array(64))).toMatchObject({ reason: 'magic' });
    expect(readFrame(buf, 0, buf.length, seed, 64, catalogMagic)).toMatchObject({ reason: 'magic' });
    const long = buf.slice();
    viewOf(long).setUint32(logFrame.at.payloadLen, framePayloadBytesMax + 1, true);
    expect(reason(long)).toMatchObject({ reason: 'length' });
    viewOf(long).setUint32(logFrame.at.payloadLen, framePayloadBytesMax, true);
    expect(reason(long)).toMatchObject({ reason: 'cut off' });
    const padded = buf.slice();
    padded[padded.length - 1] = 1;
    expect(reason(padded)).toMatchObject({ reason: 'padding', frame: { seqFirst: 41, count: 2 } });
  });

  test('valid frames of an unknown form are told apart from damage', () => {
    const changes: ((bytes: Uint8Array) => void)[] = [
      (b) => {
        b[logFrame.at.codec] = 1;
      },
      (b) => {
        b[logFrame.at.cipher] = 1;
      },
      (b) => {
        b[logFrame.at.flags] = 1;
      },
      (b) => {
        b[logFrame.at.type] = 7;
      },
      (b) => {
        b[logFrame.at.type] = 0;
      },
      (b) => {
        viewOf(b).setUint32(logFrame.at.count, 0, true);
      },
      (b) => {
        b[logFrame.at.seqFirst + 7] = 1;
      },
    ];
    for (const change of changes) {
      const buf = frameOf(new Prng(8).bytes(16));
      change(buf);
      writeChecksum(buf, logFrame.at.checksum, logFrame.at.seqFirst, buf.length, seed.at(64));
      expect(readFrame(buf, 0, buf.length, seed, 64)).toMatchObject({ ok: false, reason: 'flags' });
    }
  });

  test('a payload above the bound is our own mistake', () => {
    const small = new Uint8Array(64);
    expect(() => sealFrame(small, 0, framePayloadBytesMax + 1, header, seed, 64)).toThrow('within its bound');
    expect(() => sealFrame(small, 0, 17, header, seed, 64)).toThrow('room for the padding');
  });
});

const golden = [
  '5652574605000000ad5a04029b613547290000000000000002000000020000007b68e5cf8b0100002800000000000000',
  '0102030405000000',
].join('');
