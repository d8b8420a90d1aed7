/**
 * Applies log ops to the trees. The same visitor runs when a transaction is sequenced and when the log is
 * replayed, so that memory after recovery equals memory before the crash.
 *
 * References are derived here and nowhere else: a value record counts one reference on each chunk it names,
 * the birth of a list node one on each child. No count is ever logged.
 *
 * Invariants (test/txn/applier.test.ts):
 * - applying the log of a run to the checkpoint before it gives the same rows and the same (id, refs);
 * - a data chunk may be named by any number of CHUNK ops; a list node is born once, and once again after each
 *   death;
 * - a version is purged once and a node dies once for each birth: no count falls below what a recount gives.
 */
import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { timeKey } from '../format/history-rows.ts';
import { encodeSysKey, writeSeq } from '../format/internal-key.ts';
import { parseListNode } from '../format/list-node.ts';
import type { OpVisitor } from '../format/log-ops.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { decodeRangeRow, expiryKey, isRangeKey, rangeSeqOf, trashKey } from '../format/system-rows.ts';
import { trees } from '../format/trees.ts';
import {
  deleteRecord,
  goneRecord,
  parseValueRecord,
  recordFlags,
  recordForm,
  recordForms,
  recordHead,
  visitRecordRefs,
} from '../format/value-record.ts';
import type { Forest } from '../tree/forest.ts';

/** Where the bytes of a list node come from when it is born: memory live, its segment in replay. */
export type NodeSource = (
  id: Uint8Array,
  segment: number,
  off8: number,
  storedLen: number,
) => Uint8Array | undefined;

/** What an applier asks for and reports. */
export interface ApplierEvents {
  readonly nodes: NodeSource;
  readonly onNodeBorn: (id: Uint8Array, at: number) => void;
  readonly onNodeDied: (id: Uint8Array, at: number) => void;
  readonly onNodeMissing: (error: VarveError) => void;
  readonly onTrash: (seq2: Seq) => void;
  readonly onExpiry?: (expireAtMs: number) => void;
}

export class Applier implements OpVisitor {
  readonly #forest: Forest;
  readonly #nodes: NodeSource;
  readonly #onNodeBorn: (id: Uint8Array, at: number) => void;
  readonly #onNodeDied: (id: Uint8Array, at: number) => void;
  readonly #onNodeMissing: (error: VarveError) => void;
  readonly #onTrash: (seq2: Seq) => void;
  readonly #onExpiry: (expireAtMs: number) => void;
  #key = new Uint8Array(1024);

  /** `onNodeMissing` may throw; where it returns, the children of that node stay uncounted. */
  constructor(forest: Forest, events: ApplierEvents) {
    this.#forest = forest;
    this.#nodes = events.nodes;
    this.#onNodeBorn = events.onNodeBorn;
    this.#onNodeDied = events.onNodeDied;
    this.#onNodeMissing = events.onNodeMissing;
    this.#onTrash = events.onTrash;
    this.#onExpiry = events.onExpiry ?? (() => undefined);
  }

  /** Rows written to the key tree since this applier was made. */
  rows = 0;
  /** Commit time of the frame being applied. */
  timeMs = 0;
  /** The millisecond last marked in the system memtable `#markedIn`. */
  #markedMs = -1;
  #markedIn: unknown;

  /** Ops of the transaction `seq`, or of those of a frame from `seq` on, come next, stamped `timeMs`. */
  begin(seq: Seq, timeMs: number): void {
    this.timeMs = timeMs;
    if (this.#forest.history.marksTime) this.#markTime(seq);
  }

  /** A row per millisecond and memtable: replay begins where a memtable did, and makes the same rows. */
  #markTime(seq: Seq): void {
    const { active } = this.#forest.system;
    if (this.timeMs === this.#markedMs && active === this.#markedIn) return;
    this.#markedMs = this.timeMs;
    this.#markedIn = active;
    this.#sysRow(timeKey(this.timeMs), seq, putMarker);
  }

  put(
    tree: number,
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void {
    const end = this.#rowKey(buf, keyFrom, keyTo, seq);
    this.#forest.tree(tree).insert(this.#key, 0, end, buf, valueFrom, valueTo);
    if (tree !== trees.K) return;
    this.rows++;
    if ((buf[valueFrom + recordHead.at.flags]! & recordFlags.ttl) !== 0) {
      this.#expiry(seq, buf, keyFrom, keyTo, valueFrom, valueTo);
    }
    if (recordForm(buf, valueFrom) === recordForms.inline) return;
    visitRecordRefs(buf, valueFrom, valueTo, (idAt) => this.#forest.chunks.addRefs(buf, idAt, 1));
  }

  /** The row of the queue that the reaping of expired versions goes by. */
  #expiry(
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void {
    const { expireAtMs } = parseValueRecord(buf, valueFrom, valueTo, { file: 'log' });
    this.#sysRow(expiryKey(expireAtMs!, buf.subarray(keyFrom, keyTo), seq), seq, putMarker);
    this.#onExpiry(expireAtMs!);
  }

  /**
   * A delete marker is a row whose value is made here: kind, flags and the commit time. One that carries out
   * a range delete has the number and the time of that, so that it hides nothing that was put since.
   */
  del(tree: number, seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, covering: Seq): void {
    const isLate = covering !== 0;
    const end = this.#rowKey(buf, keyFrom, keyTo, isLate ? covering : seq);
    const timeMs = isLate ? (this.#forest.ranges.get(covering)?.timeMs ?? this.timeMs) : this.timeMs;
    const value = deleteRecord(timeMs, isLate);
    this.#forest.tree(tree).insert(this.#key, 0, end, value, 0, value.length);
    if (tree === trees.K) this.rows++;
  }

  chunk(
    seq: Seq,
    buf: Uint8Array,
    idAt: number,
    segment: number,
    off8: number,
    storedLen: number,
    rawLen: number,
    kind: number,
    codec: number,
  ): void {
    const { chunks } = this.#forest;
    chunks.setLocation(buf, idAt, segment, off8, storedLen, rawLen, kind, codec);
    chunks.note(seq);
    if (kind !== chunkKinds.list) return;
    const id = buf.slice(idAt, idAt + chunkIdBytes);
    const node = this.#nodes(id, segment, off8, storedLen);
    const place = { file: filePath('seg', segment), offset: off8 * 8 };
    if (node === undefined) {
      this.#onNodeMissing(corrupt(`list node ${toHex(id)} is missing`, place));
      return;
    }
    const list = parseListNode(node, place);
    for (let child = 0; child < list.count; child++) chunks.addRefs(node, list.childIdAt(child), 1);
    this.#onNodeBorn(buf, idAt);
  }

  move(seq: Seq, buf: Uint8Array, idAt: number, segment: number, off8: number, storedLen: number): void {
    const { chunks } = this.#forest;
    chunks.moveLocation(buf, idAt, segment, off8, storedLen, codecs.raw);
    chunks.note(seq);
  }

  /**
   * A GONE row under the number of the version, holding that of the purging commit: readers at or above that
   * see GONE, whichever file is newer, and readers below it the version.
   */
  purge(
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    seq1: Seq,
    idsFrom: number,
    count: number,
  ): void {
    const end = this.#rowKey(buf, keyFrom, keyTo, seq1);
    const value = goneRecord(this.timeMs, seq);
    this.#forest.keys.insert(this.#key, 0, end, value, 0, value.length);
    this.rows++;
    this.#release(seq, buf, idsFrom, count);
  }

  listDrop(seq: Seq, buf: Uint8Array, idAt: number, childrenFrom: number, count: number): void {
    this.#forest.chunks.drop(buf, idAt);
    this.#release(seq, buf, childrenFrom, count);
    this.#onNodeDied(buf, idAt);
  }

  #release(seq: Seq, buf: Uint8Array, idsFrom: number, count: number): void {
    const { chunks } = this.#forest;
    for (let i = 0; i < count; i++) chunks.addRefs(buf, idsFrom + i * chunkIdBytes, -1);
    chunks.note(seq);
  }

  trash(seq2: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, seq1: Seq): void {
    this.#sysRow(trashKey(seq2, buf.subarray(keyFrom, keyTo), seq1), seq2, putMarker);
    this.#onTrash(seq2);
  }

  sys(seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const key = buf.subarray(keyFrom, keyTo);
    const { ranges, history } = this.#forest;
    if (valueTo < 0) {
      if (isRangeKey(key)) ranges.remove(rangeSeqOf(key), seq);
      else history.apply(key, undefined, seq);
      this.#sysRow(key, seq, deleteMarker);
      return;
    }
    if (isRangeKey(key)) ranges.add(decodeRangeRow(key, buf.subarray(valueFrom, valueTo)));
    else history.apply(key, buf.slice(valueFrom, valueTo), seq);
    const value = new Uint8Array(1 + valueTo - valueFrom);
    value[0] = rowKinds.put;
    value.set(buf.subarray(valueFrom, valueTo), 1);
    this.#sysRow(key, seq, value);
    if (history.marksTime) this.#markTime(seq);
  }

  #sysRow(sysKey: Uint8Array, seq: Seq, value: Uint8Array): void {
    const key = encodeSysKey(sysKey, seq);
    this.#forest.system.insert(key, 0, key.length, value, 0, value.length);
  }

  /** Row key = prefix | ~seq, built in scratch space; returns its end. */
  #rowKey(buf: Uint8Array, from: number, to: number, seq: Seq): number {
    const length = to - from;
    if (length + 8 > this.#key.length) this.#key = new Uint8Array(2 * (length + 8));
    for (let i = 0; i < length; i++) this.#key[i] = buf[from + i]!;
    return writeSeq(this.#key, length, seq);
  }
}

const putMarker: Uint8Array = Uint8Array.of(rowKinds.put);
const deleteMarker: Uint8Array = Uint8Array.of(rowKinds.delete);
