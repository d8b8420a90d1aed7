/**
 * Puts that are sequenced in the turn in which nothing holds them up: a value given whole, without options,
 * for a key that is decided from memory. No object is made on the way to the log but the promise.
 *
 * Invariants (test/engine/put-now.test.ts)
 * - They answer and store what a put by way of a transaction does ("answers and stores what a put with
 *   options does").
 * - A put that had to wait goes the same way afterwards ("a put that had to wait stores what it was given").
 */
import { encodeUtf8, toHex } from '../../base/bytes.ts';
import { sha256Hex } from '../../kernels/hash/sha256.ts';
import type { WriteOp } from '../../txn/txn-writer.ts';
import type { WholeIngest } from '../../value/whole-ingest.ts';
import { KeyScratch } from '../key-scratch.ts';
import type { Store, WriteSide } from '../store.ts';
import type { Bytes, Key, PutResult } from '../types.ts';
import { PendingPut } from './pending-put.ts';
import { bytesOfOp, rowBytes } from './write-pacer.ts';

export class PutsNow {
  readonly #store: Store;
  readonly #isPressed: (write: WriteSide) => boolean;
  readonly #key = new KeyScratch();
  readonly #whole: WholeIngest;

  /** `isPressed`: writers have to wait. */
  constructor(store: Store, whole: WholeIngest, isPressed: (write: WriteSide) => boolean) {
    this.#store = store;
    this.#isPressed = isPressed;
    this.#whole = whole;
  }

  /**
   * A put without options of a value given whole, sequenced before this returns. Undefined, with nothing
   * done, when it has to wait for something, or is wrong: then `put`.
   */
  put(space: number, key: Key, value: Bytes): Promise<PutResult> | undefined {
    const store = this.#store;
    const write = store.writableNow();
    if (write === undefined || this.#isPressed(write) || store.forest.history.rules.isCounted(space))
      return undefined;
    if (typeof value !== 'string' && !(value instanceof Uint8Array)) return undefined;
    if (value.length > this.#whole.bytesMax) return undefined;
    const pending = new PendingPut(store);
    try {
      const whole = typeof value === 'string' ? encodeUtf8(value, 'value') : value;
      const keyTo = store.parts.spaces.isSettled(space) ? this.#key.aim(space, key) : 0;
      const { inlineMax } = store.parts.identity;
      let bytes = 0;
      if (keyTo > 0 && whole.length <= inlineMax)
        bytes = this.#inlineNow(write, this.#key.bytes, keyTo, whole, pending);
      else if (keyTo > 0) bytes = this.#chunksNow(write, keyTo, whole, pending);
      return this.#sequencedNow(write, bytes, whole.length, pending);
    } catch (error) {
      pending.failed(error);
    }
    return pending.promise;
  }

  /** `put` for one that has waited already: of a row prefix, and of bytes that nobody changes. */
  waited(space: number, prefix: Uint8Array, value: Uint8Array): Promise<PutResult> | undefined {
    const store = this.#store;
    const write = store.stillWritable();
    const { parts, forest } = store;
    if (value.length > parts.identity.inlineMax || write.room.isLow) return undefined;
    if (!parts.spaces.isSettled(space) || forest.history.rules.isCounted(space)) return undefined;
    const pending = new PendingPut(store);
    try {
      const bytes = this.#inlineNow(write, prefix, prefix.length, value, pending);
      return this.#sequencedNow(write, bytes, value.length, pending);
    } catch (error) {
      pending.failed(error);
    }
    return pending.promise;
  }

  /** `bytes`: about what the put adds to tables; 0 = it was not sequenced, and has to wait. */
  #sequencedNow(
    write: WriteSide,
    bytes: number,
    length: number,
    pending: PendingPut,
  ): Promise<PutResult> | undefined {
    if (bytes === 0) {
      pending.drop();
      return undefined;
    }
    this.#store.ingestedBytes += length;
    write.pacer.charge(bytes);
    write.checkpointer.startIfDue();
    return pending.promise;
  }

  /** About what the put adds to tables, bytes; 0 = it has to wait. */
  #inlineNow(
    write: WriteSide,
    prefix: Uint8Array,
    keyTo: number,
    value: Uint8Array,
    pending: PendingPut,
  ): number {
    const seq = write.txn.putInline(prefix, keyTo, value, pending);
    if (seq === undefined) return 0;
    const digest = sha256Hex(value);
    pending.result = { seq, size: value.length, digest, chunks: 0, newChunks: 0, newBytes: 0 };
    return keyTo + rowBytes + value.length;
  }

  #chunksNow(write: WriteSide, keyTo: number, value: Uint8Array, pending: PendingPut): number {
    const prefix = this.#key.bytes.slice(0, keyTo);
    if (value.length > this.#whole.bytesMax || !write.txn.isWarm(prefix)) return 0;
    const stored = this.#whole.take(value);
    if (stored === undefined) return 0;
    const { body, named, newChunks, newBytes } = stored;
    const op: WriteOp = { kind: 'put', prefix, body, metadata: undefined };
    const { seq } = write.txn.commit([op], [named], [], pending)!;
    const { size, chunks } = body;
    pending.result = { seq, size, digest: toHex(body.digest), chunks, newChunks, newBytes };
    return bytesOfOp(op);
  }
}
