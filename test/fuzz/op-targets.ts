/** Target: the ops in payloads of log frames. */
import type { Prng } from '../../src/base/prng.ts';
import { ByteWriter } from '../../src/codec/byte-writer.ts';
import {
  beginTxn,
  endTxn,
  type OpVisitor,
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
import type { TreeId } from '../../src/format/trees.ts';
import { sameBytes, type Target } from './target.ts';

const place = { file: 'fuzzed', offset: 0 };

/** Integers small, large and in between. */
export function integer(prng: Prng, max = Number.MAX_SAFE_INTEGER): number {
  const value = prng.pick([prng.below(200), prng.u32(), prng.u32() * 2 ** 21 + prng.below(2 ** 21)]);
  return value % (max + 1);
}

/** Writes every op it is shown, transaction by transaction. */
class Rewriter implements OpVisitor {
  readonly w = new ByteWriter();
  txns = 0;
  #start = -1;

  finish(): Uint8Array {
    if (this.#start >= 0) endTxn(this.w, this.#start);
    this.#start = -1;
    return this.w.take();
  }

  txn(): void {
    if (this.#start >= 0) endTxn(this.w, this.#start);
    this.#start = beginTxn(this.w);
    this.txns++;
  }

  put(tree: TreeId, _seq: number, buf: Uint8Array, ...[from, to, valueFrom, valueTo]: number[]): void {
    putPut(this.w, tree, buf.subarray(from, to), buf.subarray(valueFrom, valueTo));
  }

  del(tree: TreeId, _seq: number, buf: Uint8Array, from: number, to: number, covering: number): void {
    putDelete(this.w, tree, buf.subarray(from, to), covering);
  }

  chunk(_seq: number, buf: Uint8Array, idAt: number, ...rest: number[]): void {
    const [segment, off8, storedLen, rawLen, kind, codec] = rest as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    putChunk(this.w, buf, idAt, segment, off8, storedLen, rawLen, kind, codec);
  }

  move(_seq: number, buf: Uint8Array, idAt: number, segment: number, off8: number, storedLen: number): void {
    putMove(this.w, buf, idAt, segment, off8, storedLen);
  }

  purge(
    _seq: number,
    buf: Uint8Array,
    from: number,
    to: number,
    seq1: number,
    idsFrom: number,
    count: number,
  ): void {
    putPurge(this.w, buf.subarray(from, to), seq1, buf.subarray(idsFrom, idsFrom + 32 * count));
  }

  listDrop(_seq: number, buf: Uint8Array, idAt: number, from: number, count: number): void {
    putListDrop(this.w, buf, idAt, buf.subarray(from, from + 32 * count));
  }

  trash(seq2: number, buf: Uint8Array, from: number, to: number, seq1: number): void {
    putTrash(this.w, seq2, buf.subarray(from, to), seq1);
  }

  sys(_seq: number, buf: Uint8Array, from: number, to: number, valueFrom: number, valueTo: number): void {
    putSys(this.w, buf.subarray(from, to), valueFrom < 0 ? undefined : buf.subarray(valueFrom, valueTo));
  }
}

function randomOp(prng: Prng, w: ByteWriter): void {
  const key = prng.bytes(prng.below(20));
  const u32 = (): number => integer(prng, 2 ** 32 - 1);
  const tree = prng.pick([1, 2, 3, 4] as const);
  const ops = [
    () => putPut(w, tree, key, prng.bytes(prng.below(60))),
    () => putDelete(w, tree, key, integer(prng)),
    () => putChunk(w, prng.bytes(32), 0, u32(), u32(), u32(), u32(), prng.below(3), prng.below(5)),
    () => putMove(w, prng.bytes(32), 0, u32(), u32(), u32()),
    () => putPurge(w, key, integer(prng, 4), prng.bytes(32 * (1 + prng.below(16)))),
    () => putListDrop(w, prng.bytes(32), 0, prng.bytes(32 * (1 + prng.below(40)))),
    () => putTrash(w, integer(prng), key, integer(prng)),
    () => putSys(w, key, prng.chance(0.5) ? undefined : prng.bytes(4)),
  ];
  prng.pick(ops)();
}

export const ops: Target = {
  name: 'log ops',
  sample(prng) {
    const w = new ByteWriter();
    const count = 1 + prng.below(3);
    for (let i = 0; i < count; i++) {
      const start = beginTxn(w);
      for (let n = prng.below(5); n > 0; n--) randomOp(prng, w);
      endTxn(w, start);
    }
    const bytes = w.take();
    const again = new Rewriter();
    visitOps(bytes, 0, bytes.length, 5, count, again, place);
    sameBytes(bytes, again.finish());
    const input = new Uint8Array(1 + bytes.length);
    input[0] = count;
    input.set(bytes, 1);
    return input;
  },
  /** The first byte is the number of transactions; 0 reads a STAGE payload. */
  run(bytes) {
    if (bytes.length === 0) return;
    const again = new Rewriter();
    if (bytes[0] === 0) visitStage(bytes, 1, bytes.length, 5, again, place);
    else visitOps(bytes, 1, bytes.length, 5, bytes[0]!, again, place);
    sameBytes(bytes.subarray(1), again.finish());
  },
};
