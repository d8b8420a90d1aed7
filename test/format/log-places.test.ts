import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { framePayloadBytesMax } from '../../src/base/limits.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { frameTypes } from '../../src/format/log-frame.ts';
import { beginTxn, endTxn, putChunk, putDelete, putMove, putPut, putSys } from '../../src/format/log-ops.ts';
import { withMovedChunks } from '../../src/format/log-places.ts';
import { trees } from '../../src/format/trees.ts';

type Op = { kind: 'chunk' | 'move' | 'put' | 'delete' | 'sys'; segment: number; off8: number };
type Moved = ReadonlyMap<number, number>;

const id = new Uint8Array(32).fill(7);
const place = { file: 'wal/1', offset: 64 };

function encode(txns: readonly (readonly Op[])[], moved: Moved): Uint8Array {
  const w = new ByteWriter();
  for (const ops of txns) {
    const start = beginTxn(w);
    for (const { kind, segment: old, off8 } of ops) {
      const segment = moved.get(old) ?? old;
      const key = encodeUtf8(`key ${off8}`);
      if (kind === 'chunk') putChunk(w, id, 0, segment, off8, 100, 200, 0, 0);
      else if (kind === 'move') putMove(w, id, 0, segment, off8, 100);
      else if (kind === 'put') putPut(w, trees.K, key, id);
      else if (kind === 'delete') putDelete(w, trees.K, key, 0);
      else putSys(w, key, undefined);
    }
    endTxn(w, start);
  }
  return w.bytes.slice(0, w.pos);
}

// Around the lengths of varints.
const segment = fc.constantFrom(1, 2, 126, 127, 128, 129, 16_383, 16_384, 2_097_152, 2 ** 32 - 1);
const moves = fc.array(fc.tuple(segment, segment), { maxLength: 6 }).map((pairs) => new Map(pairs));
const opOf = (...kinds: Op['kind'][]): fc.Arbitrary<Op> =>
  fc.record({ kind: fc.constantFrom(...kinds), segment, off8: fc.nat(2 ** 20) });
const batch = { type: frameTypes.batch, seqFirst: 5 };

describe('withMovedChunks', () => {
  test('gives the bytes of the same ops with the new segments', () => {
    const txns = fc.array(fc.array(opOf('chunk', 'move', 'put', 'delete', 'sys'), { maxLength: 8 }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(txns, moves, (ops, moved) => {
        const got = withMovedChunks({ ...batch, count: ops.length }, encode(ops, new Map()), moved, place);
        expect(Buffer.compare(got, encode(ops, moved))).toBe(0);
      }),
    );
  });

  test('reads a STAGE payload as one transaction, whatever its frame counts', () => {
    fc.assert(
      fc.property(fc.array(opOf('chunk'), { maxLength: 8 }), moves, (ops, moved) => {
        const frame = { type: frameTypes.stage, seqFirst: 5, count: 1 };
        const got = withMovedChunks(frame, encode([ops], new Map()), moved, place);
        expect(Buffer.compare(got, encode([ops], moved))).toBe(0);
      }),
    );
  });

  test('gives the payload itself where it names nothing that moved', () => {
    const payload = encode([[{ kind: 'chunk', segment: 3, off8: 8 }]], new Map());
    expect(withMovedChunks({ ...batch, count: 1 }, payload, new Map([[4, 5]]), place)).toBe(payload);
  });

  test('gives the payload itself where the new one would be too long for a frame', () => {
    const w = new ByteWriter(framePayloadBytesMax);
    const start = beginTxn(w);
    putChunk(w, id, 0, 1, 8, 100, 200, 0, 0);
    w.raw(encodeRest(framePayloadBytesMax - w.pos));
    endTxn(w, start);
    const payload = w.bytes.subarray(0, w.pos);
    expect(payload.length).toBe(framePayloadBytesMax);
    expect(withMovedChunks({ ...batch, count: 1 }, payload, new Map([[1, 2]]), place)).not.toBe(payload);
    expect(withMovedChunks({ ...batch, count: 1 }, payload, new Map([[1, 128]]), place)).toBe(payload);
  });

  test('refuses a payload that is cut off', () => {
    const payload = encode([[{ kind: 'chunk', segment: 3, off8: 8 }]], new Map());
    for (let n = 0; n < payload.length; n++) {
      const cut = (): unknown =>
        withMovedChunks({ ...batch, count: 1 }, payload.subarray(0, n), new Map([[3, 4]]), place);
      expect(cut).toThrow(expect.objectContaining({ code: 'VARVE_CORRUPT' }));
    }
  });
});

/** A PUTV of exactly `bytes`. */
function encodeRest(bytes: number): Uint8Array {
  const w = new ByteWriter(bytes + 16);
  const head = 1 + 1 + 1 + 1 + 4;
  putPut(w, trees.K, new Uint8Array(1), new Uint8Array(bytes - head));
  return w.bytes.subarray(0, w.pos);
}
