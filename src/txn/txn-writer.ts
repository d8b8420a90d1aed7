/**
 * The sequencer: decides a transaction against the newest state (groups in flight included), gives it its
 * number, encodes it into the open group and applies it to memory, all in one synchronous section. Readers
 * see it when its group is durable.
 *
 * Invariants (test/txn/txn-writer.test.ts):
 * - a condition (ifSeq) is decided on the newest sequenced row of the key, never on what readers see;
 * - what is in memory is what replaying the encoded ops gives: the same visitor applies both;
 * - a transaction that is refused leaves no byte in the group and takes no number;
 * - a put that takes the short way leaves the frame and the rows the long one leaves ("the short way of an
 *   inline put writes what the long one writes");
 * - a batch is decided on what was found when it was asked whether it is warm, in the same turn ("what was
 *   found for a batch serves its next commit, and no other").
 */
import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { batchBytesMax } from '../base/limits.ts';
import type { Births } from '../chunk/births.ts';
import type { NodePresence } from '../chunk/node-presence.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { varintBytes } from '../codec/varint.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { frameTypes } from '../format/log-frame.ts';
import { beginTxn, endTxn, putDelete, putPut, putSys, visitOps, visitStage } from '../format/log-ops.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { trees } from '../format/trees.ts';
import { parseValueRecord, recordForms, writeValueRecord } from '../format/value-record.ts';
import type { GroupCommit } from '../log/group-commit.ts';
import type { Group, Waiter } from '../log/group-end.ts';
import { MISS, OK, type Step } from '../tree/cursor.ts';
import type { Forest } from '../tree/forest.ts';
import { RowRef } from '../tree/row-ref.ts';
import type { NamedChunks } from '../value/value-ingest.ts';
import { Applier } from './applier.ts';
import type { ColdReads } from './cold-reads.ts';
import { CommitWatch } from './commit-watch.ts';
import { Committed, type SysOp } from './committed.ts';
import type { RowIndexer } from './row-indexer.ts';
import { SpaceUse } from './space-use.ts';
import { refsOf, VersionEnds } from './version-ends.ts';
import {
  absent,
  checkedRow,
  encodeInline,
  estimate,
  expiryOf,
  type OldRow,
  type PutOp,
  tooLarge,
  type WriteOp,
} from './write-op.ts';

export type { DeleteOp, PutOp, WriteOp } from './write-op.ts';

export class TxnWriter {
  readonly #forest: Forest;
  readonly #log: GroupCommit;
  readonly #presence: NodePresence;
  readonly #applier: Applier;
  readonly #indexer: RowIndexer | undefined;
  readonly #row = new RowRef();
  readonly #record = new ByteWriter(1024);
  #nodes: ReadonlyMap<string, Uint8Array>[] = [];
  /** What `areWarm` has found: good for one commit, as nothing else runs before it. */
  #looked: { readonly ops: readonly WriteOp[]; readonly rows: readonly OldRow[] } | undefined;
  /** The moment by which versions have expired, ms since 1970: never before the last commit. */
  now: () => number = () => this.#log.lastTimeMs;
  /** A version that expires then was applied. */
  onExpiry: (expireAtMs: number) => void = () => undefined;
  /** Ends of superseded versions. */
  readonly ends: VersionEnds = new VersionEnds();
  readonly #cold: ColdReads | undefined;
  readonly #watches = new Set<CommitWatch>();
  /** Counts what spaces with a quota take. */
  readonly use: SpaceUse;

  /**
   * `indexer`: keeps the entries of secondary indexes. `cold`: reads what can be read at once; without it
   * every key that is not in memory must be warmed.
   */
  constructor(
    forest: Forest,
    log: GroupCommit,
    presence: NodePresence,
    indexer?: RowIndexer,
    cold?: ColdReads,
  ) {
    this.#forest = forest;
    this.#cold = cold;
    this.use = new SpaceUse(forest.history.rules);
    this.#indexer = indexer;
    this.#log = log;
    this.#presence = presence;
    this.#applier = new Applier(forest, {
      nodes: (id) => this.#nodeBytes(id),
      onNodeBorn: (id, at) => presence.born(id, at),
      onNodeDied: (id, at) => presence.died(id, at),
      onTrash: (seq2) => this.ends.fate?.trashed(seq2),
      onExpiry: (ms) => this.onExpiry(ms),
      onNodeMissing: (error) => {
        throw error;
      },
    });
  }

  /** Rows written to the key tree since the engine was opened. */
  get rows(): number {
    return this.#applier.rows;
  }

  /**
   * True when the newest row of the key can be decided without waiting for the disk. When false, await `warm`
   * before `commit`, which otherwise blocks on a read.
   */
  isWarm(prefix: Uint8Array): boolean {
    return this.#findNow(prefix, prefix.length) !== MISS;
  }

  /** The newest row, into the row object; MISS where blocks must be waited for. */
  #findNow(prefix: Uint8Array, to: number): Step {
    const row = this.#row;
    for (;;) {
      const step = this.#forest.keys.find(prefix, 0, to, Number.MAX_SAFE_INTEGER, row);
      if (step !== MISS || this.#cold?.load(row.pending) !== true) return step;
    }
  }

  /**
   * True when all keys are warm. What was found is kept for the commit of these very `ops`, which the caller
   * makes in the same turn or not at all.
   */
  areWarm(ops: readonly WriteOp[]): boolean {
    const rows: OldRow[] = [];
    for (const { prefix } of ops) {
      const step = this.#findNow(prefix, prefix.length);
      if (step === MISS) return false;
      rows.push(this.#oldOf(step));
    }
    this.#looked = { ops, rows };
    return true;
  }

  async warm(prefix: Uint8Array): Promise<void> {
    await this.#forest.keys.findAsync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, new RowRef());
  }

  /** Notes what every commit from now on changes; give it back with `unwatch`. */
  watch(): CommitWatch {
    const watch = new CommitWatch();
    this.#watches.add(watch);
    return watch;
  }

  unwatch(watch: CommitWatch): void {
    this.#watches.delete(watch);
  }

  /**
   * Sequences one transaction. Keys must differ between ops. VARVE_CONFLICT when an ifSeq does not hold,
   * VARVE_QUOTA, VARVE_INVALID_ARGUMENT when it is too large, VARVE_POISONED after a failed write; in each
   * case nothing has happened. Undefined when there is nothing to do (only deletes of absent keys). `waiter`
   * is told how the group ends, also when applying the transaction fails.
   */
  commit(
    ops: readonly WriteOp[],
    named: readonly NamedChunks[],
    sys: readonly SysOp[],
    waiter?: Waiter,
  ): Committed | undefined {
    const looked = this.#looked?.ops === ops ? this.#looked.rows : undefined;
    this.#looked = undefined;
    const old = ops.map((op, i) => checkedRow(op, looked?.[i] ?? this.#newest(op.prefix)));
    const deleted = ops.filter((op, i) => op.kind === 'delete' && old[i]!.live).length;
    if (sys.length === 0 && !ops.some((op, i) => op.kind === 'put' || old[i]!.live)) return undefined;
    const group = this.#log.group(estimate(ops, named));
    const { writer } = group;
    const from = writer.pos;
    const seq = this.#log.lastSeq + 1;
    const indexer = this.#indexerOf(ops);
    this.ends.begin();
    this.use.begin();
    try {
      const start = beginTxn(writer);
      this.#encodeBirths(writer, named);
      for (const { key, value } of sys) putSys(writer, key, value);
      indexer?.begin(group.timeMs);
      for (const [i, op] of ops.entries()) this.#encode(writer, op, old[i]!, seq, group.timeMs, indexer);
      indexer?.encode(writer);
      this.use.encode(writer);
      endTxn(writer, start);
      if (writer.pos - from > batchBytesMax) throw tooLarge(writer.pos - from);
    } catch (error) {
      writer.pos = from;
      throw error;
    }
    this.#log.take(group);
    if (waiter !== undefined) group.done.tell(waiter);
    for (const chunks of named) for (const file of chunks.files) group.files.add(file);
    try {
      this.#apply(group, from, seq, named);
    } catch (error) {
      // Memory is not what the log says any more: nothing may be built on it.
      this.#log.fail(error);
      throw error;
    }
    for (const [i, { seq: before }] of old.entries()) if (before > 0) this.ends.superseded(ops[i]!.prefix);
    this.ends.sequenced(seq, group.done);
    return new Committed(seq, deleted, group.done);
  }

  /**
   * The short way of a put of inline bytes without metadata and condition: `commit` of one such op with no
   * object made. The row prefix is prefix[0..to); both arrays are borrowed for the call. Undefined, and
   * nothing has happened, when the key is not warm, its version has chunks or its space an index, a quota or
   * a time to live: then `commit`. Errors as there.
   */
  putInline(prefix: Uint8Array, to: number, value: Uint8Array, waiter: Waiter): Seq | undefined {
    const { history } = this.#forest;
    if (history.hasDuties && !history.isPlain(prefix)) return undefined;
    const step = this.#findNow(prefix, to);
    if (step === MISS) return undefined;
    const old = this.#oldOf(step);
    if (old.refs !== undefined) return undefined;
    if (this.#indexer?.isIdle === false && this.#indexer.covers(prefix)) return undefined;
    const group = this.#log.group(64 + to + value.length);
    const { writer, timeMs } = group;
    const start = beginTxn(writer);
    const recordBytes = encodeInline(writer, prefix, to, value, timeMs, old);
    endTxn(writer, start);
    const valueFrom = writer.pos - recordBytes;
    const keyTo = valueFrom - varintBytes(recordBytes);
    const seq = this.#log.take(group);
    group.done.tell(waiter);
    try {
      this.#applier.begin(seq, timeMs);
      this.#applier.put(trees.K, seq, writer.bytes, keyTo - to, keyTo, valueFrom, writer.pos);
      if (this.#watches.size > 0) this.#tell(group, start, seq);
    } catch (error) {
      this.#log.fail(error);
      throw error;
    }
    if (old.seq > 0) this.ends.superseded(prefix.subarray(0, to));
    return seq;
  }

  /**
   * Sequences one transaction that meets no key: `encode` writes its ops, which need at most `room` bytes,
   * given its number and time. Errors as commit.
   */
  sequence(room: number, encode: (writer: ByteWriter, seq: Seq, timeMs: number) => void): Committed {
    const group = this.#log.group(room);
    const { writer } = group;
    const from = writer.pos;
    const seq = this.#log.lastSeq + 1;
    try {
      const start = beginTxn(writer);
      encode(writer, seq, group.timeMs);
      endTxn(writer, start);
    } catch (error) {
      writer.pos = from;
      throw error;
    }
    this.#log.take(group);
    try {
      this.#apply(group, from, seq, []);
    } catch (error) {
      this.#log.fail(error);
      throw error;
    }
    return new Committed(seq, 0, group.done);
  }

  /** Sequences a STAGE frame; resolves when it is durable. List nodes born meanwhile are added to `later`. */
  stage(named: NamedChunks, later: Births): Promise<void> {
    return this.#log.frame(frameTypes.stage, named.files, (writer, seq) => {
      const from = writer.pos;
      const start = beginTxn(writer);
      this.#encodeBirths(writer, [named], later);
      endTxn(writer, start);
      this.#nodes = [named.nodes];
      visitStage(writer.bytes, from, writer.pos, seq, this.#applier, { file: 'log' });
      this.#nodes = [];
    });
  }

  /** A list node is born once: not where it is in the tree, nor twice in one transaction. */
  #encodeBirths(writer: ByteWriter, named: readonly NamedChunks[], later?: Births): void {
    const bornHere = new Set<string>();
    const claimBirth = (id: Uint8Array, at: number): boolean => {
      if (this.#presence.isPresent(id, at)) return false;
      const name = toHex(id.subarray(at, at + chunkIdBytes));
      if (bornHere.has(name)) return false;
      bornHere.add(name);
      return true;
    };
    for (const chunks of named) chunks.births.encode(writer, claimBirth, later);
  }

  #apply(group: Group, from: number, seq: Seq, named: readonly NamedChunks[]): void {
    const { writer } = group;
    this.#nodes = named.map((chunks) => chunks.nodes);
    this.#applier.begin(seq, group.timeMs);
    visitOps(writer.bytes, from, writer.pos, seq, 1, this.#applier, { file: 'log' });
    this.#nodes = [];
    if (this.#watches.size > 0) this.#tell(group, from, seq);
  }

  #tell({ writer }: Group, from: number, seq: Seq): void {
    for (const watch of this.#watches)
      visitOps(writer.bytes, from, writer.pos, seq, 1, watch, { file: 'log' });
  }

  #nodeBytes(id: Uint8Array): Uint8Array | undefined {
    const name = toHex(id);
    for (const nodes of this.#nodes) {
      const bytes = nodes.get(name);
      if (bytes !== undefined) return bytes;
    }
    return undefined;
  }

  #encode(
    writer: ByteWriter,
    op: WriteOp,
    old: OldRow,
    seq: Seq,
    timeMs: number,
    indexer: RowIndexer | undefined,
  ): void {
    if (op.kind === 'delete') {
      if (!old.live) return;
      putDelete(writer, trees.K, op.prefix, 0);
      this.use.note(op.prefix, old.record?.size ?? 0, 0);
      indexer?.note(op.prefix, old.record, undefined);
    } else {
      const recordBytes = this.#encodePut(writer, op, old, timeMs);
      this.use.note(op.prefix, old.record?.size ?? 0, op.body.size);
      if (indexer !== undefined) {
        const { bytes, pos } = writer;
        const record = parseValueRecord(bytes, pos - recordBytes, pos, { file: 'log' });
        indexer.note(op.prefix, old.record, record);
      }
    }
    if (old.refs !== undefined) this.ends.encode(writer, seq, op.prefix, old.seq, old.refs);
  }

  /** Appends the PUTV; returns the bytes of its record, the last ones. */
  #encodePut(writer: ByteWriter, op: PutOp, old: OldRow, timeMs: number): number {
    const { body, metadata } = op;
    const isPlain = metadata === undefined || metadata.length === 0;
    const expireAtMs = expiryOf(op, timeMs, this.#forest.history.ttlOf(op.prefix));
    if (body.form === recordForms.inline && isPlain && expireAtMs === undefined) {
      return encodeInline(writer, op.prefix, op.prefix.length, body.bytes, timeMs, old);
    }
    this.#record.clear();
    writeValueRecord(this.#record, {
      kind: rowKinds.put,
      timeMs,
      body: op.body,
      createdMs: old.live ? Math.min(old.createdMs, timeMs) : timeMs,
      ...(op.metadata === undefined ? {} : { metadata: op.metadata }),
      ...(expireAtMs === undefined ? {} : { expireAtMs }),
    });
    putPut(writer, trees.K, op.prefix, this.#record.written());
    return this.#record.pos;
  }

  /** Undefined where none of the keys has an index. */
  #indexerOf(ops: readonly WriteOp[]): RowIndexer | undefined {
    const indexer = this.#indexer;
    if (indexer === undefined || indexer.isIdle) return undefined;
    return ops.some(({ prefix }) => indexer.covers(prefix)) ? indexer : undefined;
  }

  /** Number of the newest version where it is a put, expired or not; undefined else. May read the disk. */
  newestPut(prefix: Uint8Array): Seq | undefined {
    const { seq, record } = this.#newest(prefix);
    return record === undefined ? undefined : seq;
  }

  #newest(prefix: Uint8Array): OldRow {
    const row = this.#row;
    return this.#oldOf(this.#forest.keys.findSync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row));
  }

  /** What the lookup into the row object has found. */
  #oldOf(step: Step): OldRow {
    if (step !== OK) return absent;
    const row = this.#row;
    const { seq } = row;
    if (row.kind !== rowKinds.put) return { ...absent, seq };
    const record = parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
    const { expireAtMs } = record;
    const live = expireAtMs === undefined || expireAtMs > this.now();
    return { seq, live, createdMs: record.createdMs, refs: refsOf(record), record };
  }
}
