import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import { layoutBytes } from '../../src/codec/layout.ts';
import {
  beginTxn,
  endTxn,
  type OpVisitor,
  opCodes,
  openPayload,
  putChunk,
  putDelete,
  putMove,
  putPut,
  putSys,
  putTrash,
  visitOps,
  visitStage,
} from '../../src/format/log-ops.ts';
import { putListDrop, putPurge } from '../../src/format/purge-ops.ts';
import { type TreeId, trees } from '../../src/format/trees.ts';

type Op = { op: string } & Record<string, unknown>;

/** Collects ops as objects that compare. */
class Collector implements OpVisitor {
  readonly ops: Op[] = [];

  txn(seq: number): void {
    this.ops.push({ op: 'txn', seq });
  }
  put(
    tree: TreeId,
    seq: number,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void {
    this.ops.push({
      op: 'put',
      tree,
      seq,
      key: buf.slice(keyFrom, keyTo),
      value: buf.slice(valueFrom, valueTo),
    });
  }
  del(tree: TreeId, seq: number, buf: Uint8Array, keyFrom: number, keyTo: number, coveringSeq: number): void {
    this.ops.push({ op: 'del', tree, seq, key: buf.slice(keyFrom, keyTo), coveringSeq });
  }
  chunk(
    seq: number,
    buf: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): void {
    this.ops.push({
      op: 'chunk',
      seq,
      id: buf.slice(idAt, idAt + 32),
      segment,
      off8,
      storedLen,
      rawLen,
      kind,
      codec,
    });
  }
  move(seq: number, buf: Uint8Array, idAt: number, segment: number, off8: number, storedLen: number): void {
    this.ops.push({ op: 'move', seq, id: buf.slice(idAt, idAt + 32), segment, off8, storedLen });
  }
  purge(
    seq: number,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    seq1: number,
    idsFrom: number,
    n: number,
  ): void {
    const ids = buf.slice(idsFrom, idsFrom + 32 * n);
    this.ops.push({ op: 'purge', seq, key: buf.slice(keyFrom, keyTo), seq1, ids });
  }
  listDrop(seq: number, buf: Uint8Array, idAt: number, childrenFrom: number, n: number): void {
    const ids = buf.slice(childrenFrom, childrenFrom + 32 * n);
    this.ops.push({ op: 'listDrop', seq, id: buf.slice(idAt, idAt + 32), ids });
  }
  trash(seq2: number, buf: Uint8Array, keyFrom: number, keyTo: number, seq1: number): void {
    this.ops.push({ op: 'trash', seq2, key: buf.slice(keyFrom, keyTo), seq1 });
  }
  sys(
    seq: number,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void {
    const value = valueTo === -1 ? undefined : buf.slice(valueFrom, valueTo);
    this.ops.push({ op: 'sys', seq, key: buf.slice(keyFrom, keyTo), value });
  }
}

function write(w: ByteWriter, op: Op): void {
  const o = op as never as {
    tree: TreeId;
    key: Uint8Array;
    value: Uint8Array;
    id: Uint8Array;
    ids: Uint8Array;
  } & Record<string, number>;
  if (op.op === 'put') putPut(w, o.tree, o.key, [o.value.subarray(0, 1), o.value.subarray(1)]);
  if (op.op === 'del') putDelete(w, o.tree, o.key, o.coveringSeq!);
  if (op.op === 'chunk')
    putChunk(w, o.id, 0, o.segment!, o.off8!, o.storedLen!, o.rawLen!, o.kind!, o.codec!);
  if (op.op === 'move') putMove(w, o.id, 0, o.segment!, o.off8!, o.storedLen!);
  if (op.op === 'purge') putPurge(w, o.key, o.seq1!, o.ids);
  if (op.op === 'listDrop') putListDrop(w, o.id, 0, o.ids);
  if (op.op === 'trash') putTrash(w, o.seq2!, o.key, o.seq1!);
  if (op.op === 'sys') putSys(w, o.key, o.value);
}

function payloadOf(txns: readonly (readonly Op[])[]): Uint8Array {
  const w = new ByteWriter(16);
  for (const txn of txns) {
    const start = beginTxn(w);
    for (const op of txn) write(w, op);
    endTxn(w, start);
  }
  return w.take();
}

function visit(payload: Uint8Array, count: number, from = 0, to = payload.length): Op[] {
  const collector = new Collector();
  visitOps(payload, from, to, 10, count, collector, { file: 'wal/x', offset: 112 });
  return collector.ops;
}

const id = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
const bytes = fc.uint8Array({ maxLength: 40 });
const u32 = fc.nat(0xffff_ffff);
const tree = fc.constantFrom<TreeId>(trees.K, trees.X, trees.S);
const idArb = fc.uint8Array({ minLength: 32, maxLength: 32 });
const idsArb = fc
  .integer({ min: 1, max: 16 })
  .chain((n) => fc.uint8Array({ minLength: 32 * n, maxLength: 32 * n }));
const anyOp = fc.oneof(
  fc.record({ op: fc.constant('put'), tree, key: bytes, value: bytes }),
  fc.record({ op: fc.constant('del'), tree, key: bytes, coveringSeq: fc.maxSafeNat() }),
  fc.record({
    op: fc.constant('chunk'),
    id: idArb,
    segment: u32,
    off8: u32,
    storedLen: u32,
    rawLen: u32,
    kind: fc.nat(2),
    codec: fc.nat(4),
  }),
  fc.record({ op: fc.constant('move'), id: idArb, segment: u32, off8: u32, storedLen: u32 }),
  fc.record({ op: fc.constant('purge'), key: bytes, seq1: fc.nat(9), ids: idsArb }),
  fc.record({ op: fc.constant('listDrop'), id: idArb, ids: idsArb }),
  fc.record({ op: fc.constant('trash'), seq2: fc.maxSafeNat(), key: bytes, seq1: fc.maxSafeNat() }),
  fc.record({ op: fc.constant('sys'), key: bytes, value: fc.option(bytes, { nil: undefined }) }),
);

describe('log ops', () => {
  test('have the bytes that version 1.0 wrote', () => {
    const payload = payloadOf([
      [
        { op: 'put', tree: trees.K, key: Uint8Array.of(1, 2), value: Uint8Array.of(3, 4, 5) },
        { op: 'del', tree: trees.X, key: Uint8Array.of(6), coveringSeq: 300 },
        { op: 'chunk', id, segment: 7, off8: 1000, storedLen: 65_536, rawLen: 65_536, kind: 1, codec: 0 },
      ],
      [
        { op: 'trash', seq2: 9, key: Uint8Array.of(8), seq1: 5 },
        { op: 'move', id, segment: 8, off8: 9, storedLen: 10 },
        { op: 'sys', key: Uint8Array.of(0x61), value: Uint8Array.of(0x62) },
        { op: 'sys', key: Uint8Array.of(0x61), value: undefined },
      ],
    ]);
    expect(toHex(payload)).toBe(goldenOps);
    const open = {
      prevFileNo: 3,
      prevEndOffset: 4096,
      prevLastSeq: 77,
      firstSeq: 78,
      writerEpoch: 5,
      timelineId: 1,
      durability: 2,
    };
    expect(toHex(layoutBytes(openPayload, open))).toBe(goldenOpen);
  });

  test('of death have the bytes they were first written with', () => {
    const other = Uint8Array.from(id, (byte) => byte ^ 255);
    const ids = new Uint8Array(64);
    ids.set(id);
    ids.set(other, 32);
    const payload = payloadOf([
      [
        { op: 'purge', key: Uint8Array.of(1, 2), seq1: 300, ids },
        { op: 'listDrop', id, ids },
      ],
    ]);
    const [a, b] = [toHex(id), toHex(other)];
    expect(toHex(payload)).toBe(
      `a9000000` + `040201 02ac02 02${a}${b}`.replaceAll(' ', '') + `09${a}02${a}${b}`,
    );
  });

  test('of death name an older version, and as many ids as a record or a node has', () => {
    const ids = (n: number): Uint8Array => new Uint8Array(32 * n);
    const corrupt = expect.objectContaining({ code: 'VARVE_CORRUPT' });
    for (const [op, isWhole] of [
      [{ op: 'purge', key: id, seq1: 9, ids: ids(16) }, true],
      [{ op: 'purge', key: id, seq1: 10, ids: ids(1) }, false],
      [{ op: 'purge', key: id, seq1: 9, ids: ids(0) }, false],
      [{ op: 'purge', key: id, seq1: 9, ids: ids(17) }, false],
      [{ op: 'listDrop', id, ids: ids(2048) }, true],
      [{ op: 'listDrop', id, ids: ids(0) }, false],
      [{ op: 'listDrop', id, ids: ids(2049) }, false],
    ] as const) {
      const payload = payloadOf([[op]]);
      if (isWhole) expect(visit(payload, 1)).toHaveLength(2);
      else expect(() => visit(payload, 1)).toThrow(corrupt);
    }
  });

  test('are visited as they were written, each under the number of its transaction', () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyOp, { maxLength: 6 }), { maxLength: 5 }), (txns) => {
        const expected = txns.flatMap((txn, i) => [
          { op: 'txn', seq: 10 + i },
          ...txn.map((op) => (op.op === 'trash' ? op : { ...op, seq: 10 + i })),
        ]);
        expect(visit(payloadOf(txns), txns.length)).toEqual(expected);
      }),
    );
  });

  test('any cut, wrong count or random damage is refused and never reads outside the payload', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(anyOp, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.nat(255),
        (txns, at, byte) => {
          const payload = payloadOf(txns);
          const corrupt = expect.objectContaining({ code: 'VARVE_CORRUPT', file: 'wal/x' });
          expect(() => visit(payload, txns.length, 0, at % payload.length)).toThrow(corrupt);
          expect(() => visit(payload, txns.length + 1)).toThrow(corrupt);
          expect(() => visit(payload, txns.length - 1)).toThrow(corrupt);
          payload[at % payload.length] = byte;
          try {
            visit(payload, txns.length);
          } catch (error) {
            expect((error as { code: string }).code).toMatch(/^VARVE_(CORRUPT|FORMAT_VERSION)$/);
          }
        },
      ),
    );
  });

  test('an op this build cannot apply names itself and its place', () => {
    for (const code of [opCodes.indexAdd, opCodes.indexDrop, 10, 12, 0]) {
      const w = new ByteWriter();
      const start = beginTxn(w);
      w.u8(code);
      endTxn(w, start);
      expect(() => visit(w.take(), 1)).toThrow(
        expect.objectContaining({ code: 'VARVE_FORMAT_VERSION', file: 'wal/x', offset: 116 }),
      );
    }
  });

  test('a STAGE frame holds chunks only', () => {
    const chunk = { op: 'chunk', id, segment: 1, off8: 2, storedLen: 3, rawLen: 4, kind: 0, codec: 0 };
    const collector = new Collector();
    const good = payloadOf([[chunk]]);
    visitStage(good, 0, good.length, 5, collector, { file: 'wal/x' });
    expect(collector.ops).toEqual([
      { op: 'txn', seq: 5 },
      { ...chunk, seq: 5 },
    ]);
    const bad = payloadOf([[chunk, { op: 'sys', key: id, value: id }]]);
    expect(() => visitStage(bad, 0, bad.length, 5, new Collector(), { file: 'wal/x' })).toThrow(
      expect.objectContaining({ code: 'VARVE_CORRUPT' }),
    );
  });

  test('fields beyond 32 bits and unknown trees are corrupt', () => {
    const big = payloadOf([[{ op: 'move', id, segment: 2 ** 32, off8: 0, storedLen: 0 }]]);
    const noTree = payloadOf([[{ op: 'put', tree: 5, key: id, value: id }]]);
    for (const payload of [big, noTree])
      expect(() => visit(payload, 1)).toThrow(expect.objectContaining({ code: 'VARVE_CORRUPT' }));
  });
});

const goldenOps = [
  '3b00000001010201020303040502030106ac0203fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4',
  'e3e2e1e007e807808004808004010033000000050901080508fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9',
  'e8e7e6e5e4e3e2e1e008090a0b01610101620b016100',
].join('');
const goldenOpen = [
  '030000000000000000100000000000004d000000000000004e0000000000000005000000000000000100000000000000',
  '0200000000000000',
].join('');
