/**
 * One transaction while its function runs: what it has written, what it has read, and the view it reads.
 * Nothing of it is sequenced before the commit; large values are stored as they come, and are garbage when it
 * ends otherwise.
 *
 * Invariants (test/engine/transaction.test.ts)
 * - Every read sees the view, with the transaction's own writes over it.
 * - Of two writes to one key the one called last counts, however long the first takes to store.
 * - After the end nothing is held, and every call is refused.
 */
import type { Seq } from '../../base/brands.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { batchBytesMax } from '../../base/limits.ts';
import { Births } from '../../chunk/births.ts';
import { ByteWriter } from '../../codec/byte-writer.ts';
import { expiresBy } from '../../format/expiry.ts';
import { expiryFeature } from '../../format/format-ladder.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import {
  parseValueRecord,
  recordForms,
  type ValueRecord,
  writeValueRecord,
} from '../../format/value-record.ts';
import { Claims, nameOfPrefix, type PrefixRange } from '../../txn/claims.ts';
import type { WriteOp } from '../../txn/txn-writer.ts';
import type { NamedChunks } from '../../value/value-ingest.ts';
import type { ValueBody } from '../../value/value-writer.ts';
import type { Moment } from '../history/point.ts';
import type { FoundVersion, Reads } from '../reading/reads.ts';
import type { Store, WriteSide } from '../store.ts';
import type { Bytes, PutOptions } from '../types.ts';
import { withSha256 } from '../writing/prepared-value.ts';
import type { Writes } from '../writing/writes.ts';

/** A value the transaction has put. */
export interface OwnValue {
  readonly body: ValueBody;
  readonly metadata: Uint8Array | undefined;
  /** Chunks that no frame of the log names yet. */
  named: NamedChunks | undefined;
  readonly newChunks: number;
  readonly newBytes: number;
  readonly ttlMs: number | undefined;
  /** Its chunks are being made readable. */
  staging: Promise<void> | undefined;
}

/** The times of an own value as they would be if it were committed now, ms since 1970. */
export interface OwnTimes {
  readonly createdMs: number;
  readonly timeMs: number;
  readonly expireAtMs: number | undefined;
}

/** What the transaction does to a key; without a value it is deleted. */
export interface OwnWrite {
  readonly space: number;
  readonly key: Uint8Array;
  readonly prefix: Uint8Array;
  /** Rises from call to call. */
  readonly order: number;
  readonly value: OwnValue | undefined;
}

export class TransactionState {
  readonly store: Store;
  readonly reads: Reads;
  /** Versions above it are not seen. */
  readonly view: Seq;
  readonly moment: Moment;
  /** Number of the commit, once it is as durable as a put. */
  seq: Seq | undefined;
  readonly #writes: Writes;
  readonly #write: WriteSide;
  readonly #claims: Claims | undefined;
  readonly #own = new Map<string, OwnWrite>();
  readonly #releases: (() => void)[] = [];
  readonly #spaces = new Map<string, number>();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #abort = new AbortController();
  #isOver = false;
  #order = 0;
  #ownBytes = 0;
  /** When the first of what was read expires, ms since 1970. */
  #expireAtMs = Number.POSITIVE_INFINITY;

  /** `view`: pinned by the caller until `end`. */
  constructor(
    store: Store,
    parts: { readonly writes: Writes; readonly reads: Reads; readonly write: WriteSide },
    view: Seq,
    isSerializable: boolean,
  ) {
    this.store = store;
    this.reads = parts.reads;
    this.#writes = parts.writes;
    this.#write = parts.write;
    this.view = view;
    this.moment = { seq: view, expiryMs: store.nowMs };
    this.#claims = isSerializable ? new Claims() : undefined;
  }

  /** Runs a call of the transaction; what nobody awaits is awaited at the end. */
  run<T>(call: () => Promise<T>): Promise<T> {
    this.assertOpen();
    const running = call();
    this.#underWay.add(running);
    const over = (): void => {
      this.#underWay.delete(running);
    };
    running.then(over, over);
    return running;
  }

  /** VARVE_CLOSED when the transaction, or the store, is over. */
  assertOpen(): void {
    this.store.assertReadable();
    if (this.#isOver) throw new VarveError('VARVE_CLOSED', 'the transaction has ended');
  }

  own(prefix: Uint8Array): OwnWrite | undefined {
    return this.#own.get(nameOfPrefix(prefix));
  }

  /** The transaction's writes within the bounds, in key order. */
  ownIn(range: PrefixRange): OwnWrite[] {
    const claims = new Claims();
    claims.addRange(range);
    const found = Array.from(this.#own.values()).filter(({ prefix }) => claims.holdsKey(prefix));
    return found.sort((a, b) => Buffer.compare(a.prefix, b.prefix));
  }

  /** A key was read: nobody else may change it before the commit. */
  claimKey(prefix: Uint8Array): void {
    this.#claims?.addKey(prefix);
  }

  /** A range is being read; its bounds move on with the reading. */
  claimRange(range: PrefixRange): void {
    this.#claims?.ranges.push(range);
  }

  /** A range of entries of an index is being read; its bounds move on with the reading. */
  claimEntries(range: PrefixRange): void {
    this.#claims?.entries.push(range);
  }

  /** The version the view has of a key, own writes aside. */
  async committed(prefix: Uint8Array): Promise<FoundVersion | undefined> {
    const found = await this.reads.find(prefix, this.moment);
    this.met(prefix, found);
    return found;
  }

  /** The version the view has of a key was read, or that it has none. */
  met(prefix: Uint8Array, found: FoundVersion | undefined): void {
    this.claimKey(prefix);
    if (found?.record.expireAtMs !== undefined) this.#noteExpiry(found.record.expireAtMs);
  }

  /** A row that a scan has shown, borrowed. */
  readonly seen = (bytes: Uint8Array, from: number, to: number): void => {
    if (!expiresBy(bytes, from, Number.MAX_SAFE_INTEGER)) return;
    const { expireAtMs } = parseValueRecord(bytes, from, to, { file: 'key tree' });
    if (expireAtMs !== undefined) this.#noteExpiry(expireAtMs);
  };

  #noteExpiry(ms: number): void {
    if (this.#claims !== undefined) this.#expireAtMs = Math.min(this.#expireAtMs, ms);
  }

  /** Something that was read has expired by now: that is a change as any other. */
  hasExpired(nowMs: number): boolean {
    return this.#expireAtMs <= nowMs;
  }

  /** Stores a value's chunks and notes the put. `metadata` is taken. */
  async put(
    at: Omit<OwnWrite, 'value'>,
    value: Bytes,
    metadata: Uint8Array | undefined,
    { sha256 = false, ttlMs, signal }: PutOptions,
  ): Promise<OwnValue> {
    const either = signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal]);
    const stored = await this.#writes.prepare(value, sha256, either);
    this.#releases.push(stored.release);
    const { body, named, newChunks, newBytes } = stored;
    const own: OwnValue = {
      body,
      metadata: withSha256(metadata, stored.sha256),
      named,
      newChunks,
      newBytes,
      staging: undefined,
      ttlMs,
    };
    this.#note({ ...at, value: own });
    return own;
  }

  /** Values that expire may be put: the store is marked as one that has such. */
  async mayExpire(): Promise<void> {
    await this.store.writable().checkpointer.require(expiryFeature);
  }

  delete(at: Omit<OwnWrite, 'value'>): void {
    this.#note({ ...at, value: undefined });
  }

  /**
   * Notes deletes of these keys once all of them are known, and resolves with their number: of none where
   * finding them fails or they are too many.
   */
  async deleteAll(keys: AsyncIterable<Omit<OwnWrite, 'value'>>): Promise<number> {
    const found: OwnWrite[] = [];
    let bytes = 0;
    for await (const at of keys) {
      const write = { ...at, value: undefined };
      bytes += bytesOf(write);
      refuseBeyond(this.#ownBytes + bytes);
      found.push(write);
    }
    refuseBeyond(this.#ownBytes + bytes);
    for (const write of found) this.#note(write);
    return found.length;
  }

  /** The place of a write among all of the transaction: taken when it is called. */
  nextOrder(): number {
    return ++this.#order;
  }

  /** The number of a space, the same throughout the transaction; undefined: of the store's own keys. */
  spaceNumber(name: string | undefined): number {
    if (name === undefined) return 0;
    const number = this.#spaces.get(name) ?? this.store.parts.spaces.numberOf(name);
    this.#spaces.set(name, number);
    return number;
  }

  #note(write: OwnWrite): void {
    const name = nameOfPrefix(write.prefix);
    const before = this.#own.get(name);
    if (before !== undefined && before.order > write.order) return;
    const bytes = this.#ownBytes + bytesOf(write) - (before === undefined ? 0 : bytesOf(before));
    refuseBeyond(bytes);
    this.#ownBytes = bytes;
    this.#own.set(name, write);
  }

  /** The record a read of an own value sees; its chunks can be read then. */
  async recordOf(own: OwnValue, { createdMs, timeMs, expireAtMs }: OwnTimes): Promise<ValueRecord> {
    if (own.named !== undefined && own.named.births.count > 0) own.staging ??= this.#stage(own);
    await own.staging;
    const out = new ByteWriter(256);
    writeValueRecord(out, {
      kind: rowKinds.put,
      timeMs,
      createdMs: Math.min(createdMs, timeMs),
      body: own.body,
      ...(expireAtMs === undefined ? {} : { expireAtMs }),
      ...(own.metadata === undefined ? {} : { metadata: own.metadata }),
    });
    const bytes = out.written();
    return parseValueRecord(bytes, 0, bytes.length, { file: 'transaction' });
  }

  /** Lets the log name the chunks, so that they can be found by their ids. Uncommitted they are garbage. */
  async #stage(own: OwnValue): Promise<void> {
    const named = own.named!;
    const later = new Births();
    await this.#writes.relieve(this.#write);
    await this.#write.txn.stage(named, later);
    own.named = { births: later, nodes: new Map(), files: new Set() };
  }

  /** Waits for calls nobody awaited. Rejects with what the first of them rejects with. */
  async settled(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#underWay);
  }

  /** What is to be committed. */
  plan(): { ops: WriteOp[]; named: NamedChunks[]; claims: Claims; spaces: Set<number> } {
    const ops: WriteOp[] = [];
    const named: NamedChunks[] = [];
    const claims = new Claims();
    const spaces = new Set<number>();
    for (const range of this.#claims?.ranges ?? []) claims.addRange(range);
    for (const range of this.#claims?.entries ?? []) claims.addEntries(range);
    for (const prefix of this.#claims?.keys.values() ?? []) claims.addKey(prefix);
    for (const { space, prefix, value } of this.#own.values()) {
      claims.addKey(prefix);
      if (value === undefined) {
        ops.push({ kind: 'delete', prefix });
        continue;
      }
      spaces.add(space);
      ops.push({ kind: 'put', prefix, body: value.body, metadata: value.metadata, ttlMs: value.ttlMs });
      if (value.named !== undefined) named.push(value.named);
    }
    return { ops, named, claims, spaces };
  }

  /** The transaction is over: calls under way are aborted and waited for, what was stored is let go. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.#abort.abort();
    await Promise.allSettled(this.#underWay);
    for (const release of this.#releases) release();
    this.#releases.length = 0;
  }
}

/** About what a write takes in the log. */
function bytesOf({ prefix, value }: OwnWrite): number {
  const bytes = 64 + prefix.length;
  if (value === undefined) return bytes;
  const { body, metadata } = value;
  return bytes + (metadata?.length ?? 0) + (body.form === recordForms.inline ? body.size : 1024);
}

/** VARVE_INVALID_ARGUMENT for more than one commit takes. */
function refuseBeyond(bytes: number): void {
  if (bytes <= batchBytesMax) return;
  throw invalid(`a transaction writes at most ${batchBytesMax} bytes beside chunks`);
}
