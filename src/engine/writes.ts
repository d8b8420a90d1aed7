/**
 * Writes of one space: put, delete, batch.
 *
 * Invariants (test/engine/writes.test.ts, test/engine/writes-streams.test.ts):
 * - what is wrong with the arguments is said before anything is stored;
 * - a conflict is told once the commit it was decided on can be read, so a loop of retries ends;
 * - a buffer given to put may be changed as soon as put has returned its promise;
 * - a stream that throws, or is aborted, leaves nothing visible and holds nothing.
 */
import { toHex } from '../base/bytes.ts';
import { invalid, isVarveError } from '../base/errors.ts';
import type { Births } from '../chunk/births.ts';
import { decodeMetadata, encodeMetadata } from '../format/metadata.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import type { Committed, WriteOp } from '../txn/txn-writer.ts';
import { type IngestedValue, type NamedChunks, ValueIngest } from '../value/value-ingest.ts';
import { inlineBody, type ValueBody } from '../value/value-writer.ts';
import { pieces, rowPrefix, throwIfAborted, wholeBytes } from './key-args.ts';
import { checkNames } from './options.ts';
import type { Store, WriteSide } from './store.ts';
import type { BatchOperation, Bytes, Key, PutOptions, PutResult } from './types.ts';
import { bytesOfOp } from './write-pacer.ts';

const putNames = ['metadata', 'contentType', 'tags', 'ifSeq', 'sha256', 'signal'] as const;
const batchPutNames = ['type', 'key', 'value', 'metadata', 'contentType', 'tags', 'ifSeq', 'sha256'] as const;

/** A value ready to be named by a transaction. */
interface Prepared {
  readonly body: ValueBody;
  readonly named: NamedChunks | undefined;
  readonly sha256: Uint8Array | undefined;
  readonly newChunks: number;
  readonly newBytes: number;
  readonly release: () => void;
}

export class Writes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async put(space: number, key: Key, value: Bytes, options: PutOptions = {}): Promise<PutResult> {
    const write = this.#store.writable();
    checkPutOptions(options, putNames);
    throwIfAborted(options.signal);
    const prefix = rowPrefix(space, key);
    const whole = wholeBytes(value);
    // Encoded before the first wait: the caller may change the objects it gave.
    const metadata = encodedMetadata(options);
    const { ifSeq } = options;
    const inlineMax = this.#store.parts.identity.inlineMax;
    if (
      whole !== undefined &&
      whole.length <= inlineMax &&
      write.txn.isWarm(prefix) &&
      !this.#isPressed(write)
    ) {
      const prepared = inlineValue(whole, options.sha256 === true);
      return await this.#commitPut(write, space, prefix, prepared, ifSeq, metadata);
    }
    const kept = whole === undefined ? undefined : ownCopy(value, whole);
    await this.#relieve(write);
    const prepared = await this.#prepare(kept ?? value, options.sha256 === true, options.signal);
    try {
      throwIfAborted(options.signal);
      await write.txn.warm(prefix);
      this.#store.stillWritable();
      return await this.#commitPut(write, space, prefix, prepared, ifSeq, metadata);
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
    await this.#relieve(write);
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
    await this.#relieve(write);
    const prepared: Prepared[] = [];
    try {
      const ops: WriteOp[] = [];
      for (const item of planned) {
        throwIfAborted(options.signal);
        if (item.put === undefined) {
          ops.push({ kind: 'delete', prefix: item.prefix });
          continue;
        }
        const value = await this.#prepare(item.put.value, item.put.options.sha256 === true, options.signal);
        prepared.push(value);
        const metadata = withSha256(item.put.metadata, value.sha256);
        ops.push({
          kind: 'put',
          prefix: item.prefix,
          body: value.body,
          metadata,
          ifSeq: item.put.options.ifSeq,
        });
      }
      for (const { prefix } of ops) if (!write.txn.isWarm(prefix)) await write.txn.warm(prefix);
      throwIfAborted(options.signal);
      this.#store.stillWritable();
      const named = prepared.flatMap((value) => (value.named === undefined ? [] : [value.named]));
      const committed = await decided(write, () => {
        const sequenced = write.txn.commit(ops, named, this.#spaceRows(space, ops));
        if (sequenced !== undefined) this.#sequenced(space);
        return sequenced;
      });
      if (committed === undefined) {
        await write.log.drained();
        return { seq: write.log.visibleSeq };
      }
      for (const { body } of prepared) this.#store.ingestedBytes += body.size;
      await this.#done(
        write,
        committed,
        ops.reduce((sum, op) => sum + bytesOfOp(op), 0),
      );
      return { seq: committed.seq };
    } finally {
      for (const value of prepared) value.release();
    }
  }

  async #commitPut(
    write: WriteSide,
    space: number,
    prefix: Uint8Array,
    prepared: Prepared,
    ifSeq: number | undefined,
    encoded: Uint8Array | undefined,
  ): Promise<PutResult> {
    const { body, named } = prepared;
    const metadata = withSha256(encoded, prepared.sha256);
    const op: WriteOp = { kind: 'put', prefix, body, metadata, ifSeq };
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

  /** Stores the value's bytes: inline ones are hashed only, others are cut and stored. */
  async #prepare(value: Bytes, wantsSha256: boolean, signal: AbortSignal | undefined): Promise<Prepared> {
    const inlineMax = this.#store.parts.identity.inlineMax;
    const whole = wholeBytes(value);
    if (whole !== undefined && whole.length <= inlineMax) return inlineValue(whole, wantsSha256);
    if (whole !== undefined) return await this.#ingest([whole], wantsSha256, signal);
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
        if (done === true) return inlineValue(joined(head, length), wantsSha256);
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
    const { chunks, chunkers, presence, stageBirthsMax, env } = this.#store.parts;
    const write = this.#store.stillWritable();
    const stage = async (named: NamedChunks, later: Births): Promise<void> => {
      await this.#relieve(write);
      const staged = write.txn.stage(named, later);
      write.checkpointer.startIfDue();
      await staged;
    };
    const turn = (): Promise<void> => env.clock.turn();
    const context = { store: chunks, chunkers, presence, stage, stageBirthsMax, turn };
    const ingest = new ValueIngest(context, wantsSha256);
    let ingested: IngestedValue;
    try {
      for await (const piece of source) {
        throwIfAborted(signal);
        await ingest.write(piece);
      }
      ingested = await ingest.finish();
    } catch (error) {
      ingest.abort();
      throw error;
    }
    return ingested;
  }

  #spaceRows(space: number, ops: readonly WriteOp[]) {
    return ops.some((op) => op.kind === 'put') ? this.#store.parts.spaces.rowsFor(space) : [];
  }

  #sequenced(space: number): void {
    this.#store.parts.spaces.sequenced(space);
  }

  /** Memory is at a bound, or merges are behind: the caller must wait before it adds more. */
  #isPressed(write: WriteSide): boolean {
    return write.pacer.waitMs > 0 || this.#isFull(write);
  }

  #isFull(write: WriteSide): boolean {
    const { memory } = this.#store.parts.options;
    if (write.log.pendingBytes > memory.pendingCommitBytes) return true;
    return write.checkpointer.running !== undefined && this.#store.forest.full;
  }

  async #relieve(write: WriteSide): Promise<void> {
    await write.pacer.wait();
    while (this.#isFull(write)) {
      if (write.log.pendingBytes > this.#store.parts.options.memory.pendingCommitBytes)
        await write.log.drained();
      else await write.checkpointer.running?.then(undefined, () => undefined);
      this.#store.stillWritable();
    }
  }
}

/**
 * Runs a commit, in this very turn. A conflict is told when what it was decided on can be read: whoever reads
 * again and retries then goes on with the new state, and never spins against commits that are on their way to
 * the disk.
 */
async function decided<T>(write: WriteSide, commit: () => T): Promise<T> {
  try {
    return commit();
  } catch (error) {
    if (isVarveError(error, 'VARVE_CONFLICT')) await write.log.drained();
    throw error;
  }
}

interface Planned {
  readonly prefix: Uint8Array;
  readonly put?: {
    readonly value: Uint8Array;
    readonly options: PutOptions;
    readonly metadata: Uint8Array | undefined;
  };
}

/** Checks every operation and copies its value; of several operations on one key the last one counts. */
function planBatch(space: number, operations: readonly BatchOperation[]): Planned[] {
  const byKey = new Map<string, Planned>();
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null) throw invalid('a batch operation is an object');
    const prefix = rowPrefix(space, operation.key);
    const name = toHex(prefix);
    byKey.delete(name);
    if (operation.type === 'delete') {
      checkNames(operation, ['type', 'key'], 'field');
      byKey.set(name, { prefix });
    } else if (operation.type === 'put') {
      checkPutOptions(operation, batchPutNames);
      const whole = wholeBytes(operation.value);
      if (whole === undefined) throw invalid('a batch takes strings and Uint8Arrays; give streams to put');
      const value = ownCopy(operation.value, whole);
      byKey.set(name, {
        prefix,
        put: { value, options: operation, metadata: encodedMetadata(operation) },
      });
    } else throw invalid("a batch operation has type 'put' or 'delete'");
  }
  return Array.from(byKey.values());
}

function checkPutOptions(options: PutOptions, names: readonly string[]): void {
  checkNames(options, names, 'option');
  checkIfSeq(options.ifSeq);
  if (options.sha256 !== undefined && typeof options.sha256 !== 'boolean') {
    throw invalid('sha256 must be true or false');
  }
}

function checkIfSeq(ifSeq: number | undefined): void {
  if (ifSeq !== undefined && !(Number.isSafeInteger(ifSeq) && ifSeq >= 0)) {
    throw invalid('ifSeq must be a sequence number, or 0 for an absent key', { actual: ifSeq });
  }
}

function encodedMetadata({ contentType, tags, metadata }: PutOptions): Uint8Array | undefined {
  if (contentType === undefined && tags === undefined && metadata === undefined) return undefined;
  return encodeMetadata({
    ...(contentType === undefined ? {} : { contentType }),
    ...(tags === undefined ? {} : { tags }),
    ...(metadata === undefined ? {} : { metadata }),
  });
}

/** The same metadata with the digest of the whole value; as encoded where there is none. */
function withSha256(encoded: Uint8Array | undefined, whole: Uint8Array | undefined): Uint8Array | undefined {
  if (whole === undefined) return encoded;
  const given = encoded === undefined ? {} : decodeMetadata(encoded, { file: 'metadata given to put' });
  return encodeMetadata({ ...given, system: { sha256: whole } });
}

function inlineValue(bytes: Uint8Array, wantsSha256: boolean): Prepared {
  const whole = wantsSha256 ? sha256(bytes) : undefined;
  return {
    body: inlineBody(bytes),
    named: undefined,
    sha256: whole,
    newChunks: 0,
    newBytes: 0,
    release: () => undefined,
  };
}

/** Bytes the caller cannot change: a string was encoded into a fresh array already. */
function ownCopy(given: Bytes, bytes: Uint8Array): Uint8Array {
  return given === bytes ? bytes.slice() : bytes;
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

async function* chain(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}
