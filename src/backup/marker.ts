/**
 * What backups reach: one bit for each chunk of the vault's table. Subtrees that several backups share are
 * walked once.
 *
 * Invariants (test/backup/vault.test.ts)
 * - After `mark` without a miss every chunk that a restore of the tree reads is marked ("each backup restores
 *   alone with all others forgotten and pruned").
 */

import { toHex } from '../base/bytes.ts';
import { isDamage, isVarveError, VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { ValueRecord } from '../format/value-record.ts';
import { RowSet } from './chunk-table.ts';
import { leavesOf, type TreeRoot, visitChunks } from './key-tree-walk.ts';
import type { Slices } from './throttle.ts';
import type { VaultReader } from './vault-reader.ts';

/** A chunk that is reached and not there, or cannot be read though what is below it matters. */
export interface Unreachable {
  readonly id: string;
  readonly error: VarveError;
}

export class Marker {
  readonly marked: RowSet;
  /** At most `missesMax`; `missCount` counts all. */
  readonly misses: Unreachable[] = [];
  missCount = 0;
  readonly #reader: VaultReader;
  readonly #slices: Slices;

  constructor(reader: VaultReader, slices: Slices) {
    this.#reader = reader;
    this.#slices = slices;
    this.marked = new RowSet(reader.table.count);
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
        if (leaf.record !== undefined) await this.markValue(leaf.record);
      }
    }
  }

  /** Marks the chunks of a value; as `mark`. */
  async markValue(record: ValueRecord): Promise<void> {
    if (record.chunks === 0) return;
    await visitChunks(record, {
      data: (buf, idAt) => {
        this.#isNew(buf, idAt);
      },
      node: (buf, idAt) => this.#node(buf, idAt),
    });
  }

  async #node(buf: Uint8Array, idAt: number): Promise<Uint8Array | undefined> {
    if (!this.#isNew(buf, idAt)) return undefined;
    try {
      return await this.#reader.read(buf, idAt);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      this.#miss(buf, idAt, error);
      return undefined;
    }
  }

  /** Marks a chunk; false when it was marked, or is missing. */
  #isNew(id: Uint8Array, idAt: number): boolean {
    const row = this.#reader.table.find(id, idAt);
    if (row >= 0) return this.marked.add(row);
    const hex = toHex(id.subarray(idAt, idAt + chunkIdBytes));
    this.#miss(
      id,
      idAt,
      new VarveError('VARVE_CORRUPT', `chunk ${hex} is in no pack of the vault`, { file: 'vault' }),
    );
    return false;
  }

  #miss(id: Uint8Array, idAt: number, error: VarveError): void {
    this.missCount++;
    if (this.misses.length >= missesMax) return;
    this.misses.push({ id: toHex(id.subarray(idAt, idAt + chunkIdBytes)), error });
  }
}

const missesMax = 1000;
