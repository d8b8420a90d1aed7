/**
 * Writes of one space: put, delete, batch.
 *
 * Invariants (test/engine/writes.test.ts, test/engine/writes-streams.test.ts):
 * - what is wrong with the arguments is said before anything is stored;
 * - a conflict is told once the commit it was decided on can be read, so a loop of retries ends;
 * - a buffer given to put may be changed as soon as put has returned its promise;
 * - a stream that throws, or is aborted, leaves nothing visible and holds nothing.
 */
import { concatBytes, toHex } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { allEnded } from '../../base/sync.ts';
import type { Births } from '../../chunk/births.ts';
import { expiryFeature } from '../../format/format-ladder.ts';
import type { Committed } from '../../txn/committed.ts';
import type { PutOp, WriteOp } from '../../txn/txn-writer.ts';
import { DirectSource, feed } from '../../value/direct-source.ts';
import { type IngestedValue, type NamedChunks, ValueIngest } from '../../value/value-ingest.ts';
import { WholeIngest } from '../../value/whole-ingest.ts';
import { pieces, rowPrefix, throwIfAborted, wholeBytes } from '../key-args.ts';
import type { Store, WriteSide } from '../store.ts';
import type { BatchOperation, Bytes, Key, PutOptions, PutResult } from '../types.ts';
import {
  checkIfSeq,
  checkPutOptions,
  encodedMetadata,
  expires,
  inlineOps,
  own,
  ownCopy,
  type Planned,
  planBatch,
} from './batch-plan.ts';
import { decided } from './decided.ts';
import { chain, inlineValue, type Prepared, wholeValue, withSha256 } from './prepared-value.ts';
import { PutsNow } from './puts-now.ts';
import { bytesOfOp } from './write-pacer.ts';

const putNames = ['metadata', 'contentType', 'tags', 'ifSeq', 'sha256', 'ttlMs', 'signal'] as const;

/** A batch lets others have their turn after so many bytes. */
const turnBytes: number = MiB;

/** Keys of a batch that are looked up side by side where the disk must be waited for. */
const warmedTogether = 16;

export class Writes {
  readonly #store: Store;
  readonly #whole: WholeIngest;
  readonly #now: PutsNow;

  constructor(store: Store) {
    this.#store = store;
    this.#whole = new WholeIngest(store.parts.chunks, store.parts.chunkers);
    this.#now = new PutsNow(store, this.#whole, (write) => this.isPressed(write));
  }

  /** See PutsNow. */
  putNow(space: number, key: Key, value: Bytes): Promise<PutResult> | undefined {
    return this.#now.put(space, key, value);
  }

  async put(space: number, key: Key, value: Bytes, options: PutOptions = {}): Promise<PutResult> {
    const write = this.#store.writable();
    checkPutOptions(options, putNames);
    throwIfAborted(options.signal);
    const prefix = rowPrefix(space, key);
    const whole = wholeBytes(value);
    // Encoded before the first wait: the caller may change the objects it gave.
    const metadata = encodedMetadata(options);
    const { ifSeq, ttlMs } = options;
    const inlineMax = this.#store.parts.identity.inlineMax;
    if (
      whole !== undefined &&
      whole.length <= inlineMax &&
      ttlMs === undefined &&
      write.txn.isWarm(prefix) &&
      !this.isPressed(write)
    ) {
      const prepared = inlineValue(whole, options.sha256 === true);
      return await this.commitPut(write, space, prefix, prepared, ifSeq, metadata);
    }
    const kept = whole === undefined ? undefined : ownCopy(value, whole);
    await this.relieve(write);
    if (ttlMs !== undefined) await write.checkpointer.require(expiryFeature);
    if (kept !== undefined && isPlain(options)) {
      throwIfAborted(options.signal);
      const now = this.#now.waited(space, prefix, kept);
      if (now !== undefined) return await now;
    }
    const prepared = await this.prepare(kept ?? value, options.sha256 === true, options.signal);
    try {
      throwIfAborted(options.signal);
      await write.txn.warm(prefix);
      this.#store.stillWritable();
      return await this.commitPut(write, space, prefix, prepared, ifSeq, metadata, { ttlMs });
    } finally {
      prepared.release();
    }
  }

  async delete(
    space: number,
    key: Key,
    options: { ifSeq?: number; signal?: AbortSignal } = {},
  ): Promise<boolean> {
    const write = this.#store.writable();
    checkNames(options, ['ifSeq', 'signal'], 'option');
    checkIfSeq(options.ifSeq);
    throwIfAborted(options.signal);
    const prefix = rowPrefix(space, key);
    await this.relieve(write);
    if (!write.txn.isWarm(prefix)) await write.txn.warm(prefix);
    this.#store.stillWritable();
    const op: WriteOp = { kind: 'delete', prefix, ifSeq: options.ifSeq };
    const committed = await decided(write, () => write.txn.commit([op], [], []));
    if (committed === undefined) {
      // Nothing to remove, perhaps because of a delete that is on its way to the disk.
      await write.log.drained();
      return false;
    }
    await this.#done(write, committed, bytesOfOp(op));
    return true;
  }

  async batch(
    space: number,
    operations: readonly BatchOperation[],
    options: { signal?: AbortSignal } = {},
  ): Promise<{ seq: number }> {
    const write = this.#store.writable();
    if (!Array.isArray(operations)) throw invalid('batch takes an array of operations');
    checkNames(options, ['signal'], 'option');
    throwIfAborted(options.signal);
    const planned = planBatch(space, operations);
    if (!this.isPressed(write) && !expires(planned)) {
      const ops = inlineOps(planned, this.#store.parts.identity.inlineMax);
      if (ops !== undefined && write.txn.areWarm(ops)) {
        return await this.#commitBatch(write, space, ops, []);
      }
    }
    own(planned);
    return await this.#batchLater(write, space, planned, options.signal);
  }

  /** A batch that has to wait, or has values that go to chunks. */
  async #batchLater(
    write: WriteSide,
    space: number,
    planned: readonly Planned[],
    signal: AbortSignal | undefined,
  ): Promise<{ seq: number }> {
    await this.relieve(write);
    if (expires(planned)) await write.checkpointer.require(expiryFeature);
    const prepared: Prepared[] = [];
    let taken = 0;
    try {
      const ops: WriteOp[] = [];
      for (const item of planned) {
        throwIfAborted(signal);
        if (item.put === undefined) {
          ops.push({ kind: 'delete', prefix: item.prefix });
          continue;
        }
        const { value: bytes, options } = item.put;
        const wantsSha256 = options.sha256 === true;
        const now = write.room.isLow ? undefined : this.#prepareNow(bytes, wantsSha256);
        const value = now ?? (await this.prepare(bytes, wantsSha256, signal));
        prepared.push(value);
        taken += bytes.length;
        if (taken >= turnBytes) {
          taken = 0;
          await this.#store.parts.env.clock.turn();
        }
        const metadata = withSha256(item.put.metadata, value.sha256);
        ops.push({
          kind: 'put',
          prefix: item.prefix,
          body: value.body,
          metadata,
          ifSeq: options.ifSeq,
          ttlMs: options.ttlMs,
        });
      }
      if (!write.txn.areWarm(ops)) await warmAll(write, ops);
      throwIfAborted(signal);
      this.#store.stillWritable();
      const named = prepared.flatMap((value) => (value.named === undefined ? [] : [value.named]));
      return await this.#commitBatch(write, space, ops, named);
    } finally {
      for (const value of prepared) value.release();
    }
  }

  async #commitBatch(
    write: WriteSide,
    space: number,
    ops: readonly WriteOp[],
    named: readonly NamedChunks[],
  ): Promise<{ seq: number }> {
    const committed = await decided(write, () => {
      const sequenced = write.txn.commit(ops, named, this.#spaceRows(space, ops));
      if (sequenced !== undefined) this.#sequenced(space);
      return sequenced;
    });
    if (committed === undefined) {
      await write.log.drained();
      return { seq: write.log.visibleSeq };
    }
    for (const op of ops) if (op.kind === 'put') this.#store.ingestedBytes += op.body.size;
    await this.#done(
      write,
      committed,
      ops.reduce((sum, op) => sum + bytesOfOp(op), 0),
    );
    return { seq: committed.seq };
  }

  /** Sequences one put in this very turn; resolves as put does. VARVE_CONFLICT as `decided` tells it. */
  async commitPut(
    write: WriteSide,
    space: number,
    prefix: Uint8Array,
    prepared: Prepared,
    ifSeq: number | undefined,
    encoded: Uint8Array | undefined,
    expiry: Pick<PutOp, 'ttlMs' | 'expireAtMs'> = {},
  ): Promise<PutResult> {
    const { body, named } = prepared;
    const metadata = withSha256(encoded, prepared.sha256);
    const op: WriteOp = { kind: 'put', prefix, body, metadata, ifSeq, ...expiry };
    const committed = await decided(write, () => {
      const rows = this.#spaceRows(space, [op]);
      const sequenced = write.txn.commit([op], named === undefined ? [] : [named], rows)!;
      this.#sequenced(space);
      return sequenced;
    });
    this.#store.ingestedBytes += body.size;
    const { newChunks, newBytes } = prepared;
    const { size, chunks } = body;
    const result = { seq: committed.seq, size, digest: toHex(body.digest), chunks, newChunks, newBytes };
    await this.#done(write, committed, bytesOfOp(op));
    return result;
  }

  /** `bytes`: about what the commit adds to tables. */
  async #done(write: WriteSide, committed: Committed, bytes: number): Promise<void> {
    write.pacer.charge(bytes);
    write.checkpointer.startIfDue();
    await committed.done;
  }

  /** `prepare` of bytes that need no wait; undefined, with nothing stored, for others. */
  #prepareNow(bytes: Uint8Array, wantsSha256: boolean): Prepared | undefined {
    const { identity, chunks } = this.#store.parts;
    if (bytes.length <= identity.inlineMax) return inlineValue(bytes, wantsSha256);
    return wholeValue(this.#whole, chunks.guard, bytes, wantsSha256);
  }

  /** Stores the value's bytes: inline ones are hashed only, others are cut and stored. */
  async prepare(value: Bytes, wantsSha256: boolean, signal: AbortSignal | undefined): Promise<Prepared> {
    const { room } = this.#store.stillWritable();
    if (room.isLow) await room.admit();
    const inlineMax = this.#store.parts.identity.inlineMax;
    const whole = wholeBytes(value);
    if (whole !== undefined)
      return this.#prepareNow(whole, wantsSha256) ?? (await this.#ingest([whole], wantsSha256, signal));
    if (value instanceof DirectSource && value.size > inlineMax)
      return await this.#ingest(value, wantsSha256, signal);
    return await this.#ingestStream(pieces(value, signal), wantsSha256, signal, inlineMax);
  }

  /** A stream that turns out to be short is kept inline like any short value. */
  async #ingestStream(
    source: AsyncGenerator<Uint8Array>,
    wantsSha256: boolean,
    signal: AbortSignal | undefined,
    inlineMax: number,
  ): Promise<Prepared> {
    const head: Uint8Array[] = [];
    let length = 0;
    try {
      while (length <= inlineMax) {
        const { value, done } = await source.next();
        if (done === true) return inlineValue(concatBytes(head), wantsSha256);
        if (value.length === 0) continue;
        head.push(value.slice());
        length += value.length;
      }
      return await this.#ingest(chain(head, source), wantsSha256, signal);
    } finally {
      await source.return(undefined);
    }
  }

  async #ingest(
    source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    wantsSha256: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Prepared> {
    const { chunks, chunkers, threads, presence, stageBirthsMax, env } = this.#store.parts;
    const write = this.#store.stillWritable();
    const stage = async (named: NamedChunks, later: Births): Promise<void> => {
      await this.relieve(write);
      if (write.room.isLow) await write.room.admit();
      const staged = write.txn.stage(named, later);
      write.checkpointer.startIfDue();
      await staged;
    };
    const turn = (): Promise<void> => env.clock.turn();
    const context = { store: chunks, chunkers, threads, presence, stage, stageBirthsMax, turn };
    const ingest = new ValueIngest(context, wantsSha256);
    let ingested: IngestedValue;
    try {
      await feed(ingest, source, () => throwIfAborted(signal));
      ingested = await ingest.finish();
    } catch (error) {
      ingest.abort();
      throw error;
    }
    return ingested;
  }

  #spaceRows(space: number, ops: readonly WriteOp[]) {
    const { spaces } = this.#store.parts;
    if (!ops.some((op) => op.kind === 'put')) return [];
    spaces.assertLive(space);
    return spaces.rowsFor(space);
  }

  #sequenced(space: number): void {
    this.#store.parts.spaces.sequenced(space);
  }

  /** Memory is at a bound, or merges are behind: the caller must wait before it adds more. */
  isPressed(write: WriteSide): boolean {
    return (
      write.pacer.waitMs > 0 || write.room.isLow || this.#store.settling !== undefined || this.#isFull(write)
    );
  }

  #isFull(write: WriteSide): boolean {
    const { memory } = this.#store.parts.options;
    if (write.log.pendingBytes > memory.pendingCommitBytes) return true;
    return write.checkpointer.running !== undefined && this.#store.forest.full;
  }

  /** Waits until more may be added: memory is below its bounds, merges are not behind. */
  async relieve(write: WriteSide): Promise<void> {
    await write.pacer.wait();
    while (this.#store.settling !== undefined) await this.#store.settling;
    while (this.#isFull(write)) {
      if (write.log.pendingBytes > this.#store.parts.options.memory.pendingCommitBytes)
        await write.log.drained();
      else await write.checkpointer.running?.then(undefined, () => undefined);
      this.#store.stillWritable();
    }
  }
}

/** Reads what the newest rows of all keys are found in, some side by side: a disk serves many at a time. */
async function warmAll({ txn }: WriteSide, ops: readonly WriteOp[]): Promise<void> {
  let next = 0;
  const each = async (): Promise<void> => {
    while (next < ops.length) await txn.warm(ops[next++]!.prefix);
  };
  // Every one ends before an error is told: nothing is read any more when the call is over.
  await allEnded(Array.from({ length: warmedTogether }, each));
}

/** Nothing but the value is given. */
function isPlain({ metadata, contentType, tags, ifSeq, sha256, ttlMs }: PutOptions): boolean {
  const given = metadata ?? contentType ?? tags ?? ifSeq ?? ttlMs;
  return given === undefined && sha256 !== true;
}
