/**
 * The log ops of death: PURGE ends a version that nobody can see, LISTDROP a list node that nothing refers
 * to. Both name what they give back, so that applying them reads nothing:
 *
 *   PURGE     row prefix, varint number of the version, u8 n (1 .. 16), n ids
 *   LISTDROP  id, varint n (1 .. 2048), n ids of its children
 */
import type { Seq } from '../base/brands.ts';
import { directChunksMax, listNodeEntriesMax } from '../base/limits.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { type OpReader, putId } from './op-reader.ts';

/** Codes of these ops among those of log-ops.ts. Never changed, never reused. */
export const purgeOpCodes = { purge: 4, listDrop: 9 } as const;

/** Bytes an op takes beside its key and its ids, at most. */
export const purgeOpBytes = 24;

/** Receives the ops of death; positions are in `buf`, which is borrowed until the call returns. */
export interface PurgeVisitor {
  /**
   * Version `seq1` of the key is gone as of commit `seq`; the `count` ids from `idsFrom` on lose one
   * reference each.
   */
  purge(
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    seq1: Seq,
    idsFrom: number,
    count: number,
  ): void;
  /**
   * The list node leaves the index; its `count` children, whose ids lie from `childrenFrom` on, lose one
   * reference each.
   */
  listDrop(seq: Seq, buf: Uint8Array, idAt: number, childrenFrom: number, count: number): void;
}

/**
 * PURGE: version `seq1` of `key` is gone. `ids`: what its record refers to, one behind the other, each as
 * often as it is named there (the chunks of a list, the root of a tree).
 */
export function putPurge(w: ByteWriter, key: Uint8Array, seq1: Seq, ids: Uint8Array): void {
  w.u8(purgeOpCodes.purge);
  w.varBytes(key);
  w.varint(seq1);
  w.u8(ids.length / chunkIdBytes);
  w.raw(ids);
}

/** LISTDROP: the list node at `id[idAt..idAt+32)` dies; `children`: their ids, one behind the other. */
export function putListDrop(w: ByteWriter, id: Uint8Array, idAt: number, children: Uint8Array): void {
  w.u8(purgeOpCodes.listDrop);
  putId(w, id, idAt);
  w.varint(children.length / chunkIdBytes);
  w.raw(children);
}

export function visitPurge(r: OpReader, seq: Seq, visitor: PurgeVisitor): void {
  const keyFrom = r.varSpan();
  const keyTo = r.pos;
  const seq1 = r.varint();
  const count = r.u8();
  if (seq1 >= seq) throw r.fail('PURGE names a version that is not older than it');
  if (count === 0 || count > directChunksMax) throw r.fail('PURGE has a count of references out of range');
  const idsFrom = r.span(count * chunkIdBytes);
  r.check();
  visitor.purge(seq, r.bytes, keyFrom, keyTo, seq1, idsFrom, count);
}

export function visitListDrop(r: OpReader, seq: Seq, visitor: PurgeVisitor): void {
  const idAt = r.span(chunkIdBytes);
  const count = r.varint();
  if (count === 0 || count > listNodeEntriesMax)
    throw r.fail('LISTDROP has a count of children out of range');
  const childrenFrom = r.span(count * chunkIdBytes);
  r.check();
  visitor.listDrop(seq, r.bytes, idAt, childrenFrom, count);
}
