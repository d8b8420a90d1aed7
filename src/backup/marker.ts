/**
 * What backups reach: one bit for each entry of the vault's index. Subtrees that several backups share are
 * walked once.
 *
 * Chunks whose place is not in memory wait, and are looked up in the order of their ids, so that each page of
 * the index is read once for many of them.
 *
 * Memory: the bits, and `waitingMax` ids.
 *
 * Invariants (test/backup/vault.test.ts, test/backup/vault-index.test.ts)
 * - After `mark` without a miss every chunk that a restore of the tree reads is marked ("each backup restores
 *   alone with all others forgotten and pruned").
 * - What is marked and what is missed does not depend on memory ("marks are the same however small the
 *   memory").
 */

import { toHex, viewOf } from '../base/bytes.ts';
import { isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { ValueRecord } from '../format/value-record.ts';
import { IndexMarks } from './index-marks.ts';
import { leavesOf, type TreeRoot, visitChunks } from './key-tree-walk.ts';
import type { Slices } from './throttle.ts';
import { found, IndexHit, missingChunk, unknown } from './vault-index.ts';
import type { VaultReader } from './vault-reader.ts';

/** A chunk that is reached and not there, or cannot be read though what is below it matters. */
export interface Unreachable {
  readonly id: string;
  readonly error: VarveError;
}

const missesMax = 1000;
/** Ids that wait; a power of two. */
const waitingMax = 2 ** 19;
const waitingFirst = 1024;

/** VARVE_CONFLICT from any call where the index has changed under the marks: begin again. */
export class Marker {
  readonly marked: IndexMarks;
  /** At most `missesMax`; `missCount` counts all. */
  readonly misses: Unreachable[] = [];
  missCount = 0;
  readonly #reader: VaultReader;
  readonly #slices: Slices;
  readonly #hit = new IndexHit();
  #waiting = new Uint8Array(waitingFirst * chunkIdBytes);
  #waits = 0;

  constructor(reader: VaultReader, slices: Slices) {
    this.#reader = reader;
    this.#slices = slices;
    this.marked = new IndexMarks(reader.index);
  }

  /** Marks all that a tree reaches; what is missing is noted and the rest goes on. */
  async mark(root: TreeRoot): Promise<void> {
    const reader = this.#reader;
    const leaves = leavesOf(reader, root, {
      enter: (id, idAt) => this.#isNew(id, idAt),
      onLost: ({ id, error }) => this.#miss(id, 0, error),
    });
    for await (const leaf of leaves) {
      while (leaf.next()) {
        const rest = this.#slices.step();
        if (rest !== undefined) await rest;
        if (leaf.record !== undefined) await this.#value(leaf.record);
      }
    }
    await this.#lookUp();
  }

  /** Marks the chunks of values; as `mark`. */
  async markValues(records: Iterable<ValueRecord>): Promise<void> {
    for (const record of records) await this.#value(record);
    await this.#lookUp();
  }

  async #value(record: ValueRecord): Promise<void> {
    if (record.chunks === 0) return;
    await visitChunks(record, {
      data: (buf, idAt) => this.#data(buf, idAt),
      node: (buf, idAt) => this.#node(buf, idAt),
    });
  }

  #data(buf: Uint8Array, idAt: number): void | Promise<void> {
    const answer = this.#reader.index.findNow(buf, idAt, this.#hit);
    if (answer === found) this.marked.add(this.#hit);
    else if (answer !== unknown) this.#miss(buf, idAt, missingChunk(buf, idAt));
    else {
      if (this.#waits * chunkIdBytes === this.#waiting.length) this.#grow();
      this.#waiting.set(buf.subarray(idAt, idAt + chunkIdBytes), this.#waits * chunkIdBytes);
      if (++this.#waits === waitingMax) return this.#lookUp();
    }
  }

  #grow(): void {
    const grown = new Uint8Array(this.#waiting.length * 2);
    grown.set(this.#waiting);
    this.#waiting = grown;
  }

  /** Marks the chunks that wait. */
  async #lookUp(): Promise<void> {
    const count = this.#waits;
    const ids = this.#waiting;
    const view = viewOf(ids);
    // The first four bytes of each, with its number behind: as good as the order of ids.
    const order = Float64Array.from(
      { length: count },
      (_, i) => view.getUint32(i * chunkIdBytes, false) * waitingMax + i,
    ).sort();
    for (const one of order) {
      const idAt = (one % waitingMax) * chunkIdBytes;
      const answer = this.#reader.index.find(ids, idAt, this.#hit);
      if (typeof answer === 'boolean' ? answer : await answer) this.marked.add(this.#hit);
      else this.#miss(ids, idAt, missingChunk(ids, idAt));
      const rest = this.#slices.step();
      if (rest !== undefined) await rest;
    }
    this.#waits = 0;
    this.marked.check();
  }

  async #node(buf: Uint8Array, idAt: number): Promise<Uint8Array | undefined> {
    if (!(await this.#isNew(buf, idAt))) return undefined;
    try {
      return await this.#reader.read(buf, idAt);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      this.#miss(buf, idAt, error);
      return undefined;
    }
  }

  /** Marks a chunk; false when it was marked, or is missing. */
  #isNew(id: Uint8Array, idAt: number): boolean | Promise<boolean> {
    const hit = this.#hit;
    const answer = this.#reader.index.find(id, idAt, hit);
    return typeof answer === 'boolean'
      ? this.#met(answer, id, idAt)
      : answer.then((is) => this.#met(is, id, idAt));
  }

  #met(isThere: boolean, id: Uint8Array, idAt: number): boolean {
    if (isThere) return this.marked.add(this.#hit);
    this.#miss(id, idAt, missingChunk(id, idAt));
    return false;
  }

  #miss(id: Uint8Array, idAt: number, error: VarveError): void {
    this.missCount++;
    if (this.misses.length >= missesMax) return;
    this.misses.push({ id: toHex(id.subarray(idAt, idAt + chunkIdBytes)), error });
  }
}
