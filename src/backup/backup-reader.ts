/**
 * Reads the keys and values of one backup, or of a moment behind it, out of the vault; every byte is checked.
 */
import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { decodeInternalKey, encodeInternalKey, spaceOf } from '../format/internal-key.ts';
import { keyTreeTags } from '../format/key-tree-node.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import type { ChunkSource } from '../value/leaf-walker.ts';
import { RangeReader } from '../value/range-reader.ts';
import { pointOf, type RestorePoint } from './archived-changes.ts';
import { type LostKeys, leavesOf } from './key-tree-walk.ts';
import type { LoggedChanges } from './logged-changes.ts';
import { isWithin, type TreeRange } from './restore-choice.ts';
import { RowOverlay } from './row-overlay.ts';
import type { Snap } from './snaps.ts';
import { spaceNamed, sysKeyOf } from './system-rows.ts';
import { throwIfAborted } from './throttle.ts';
import { VaultReader } from './vault-reader.ts';
import { adoptOrphans, everyPack, loadVault, type VaultEnv } from './vault-state.ts';

/** A key of a backup. All arrays are the caller's. */
export interface BackupKey {
  /** Row prefix. */
  readonly prefix: Uint8Array;
  readonly space: number;
  readonly key: Uint8Array;
  readonly seq: number;
  readonly record: ValueRecord;
}

export interface RowsOptions {
  /** Told of what cannot be read, which is left out; without it damage is thrown. */
  readonly onLost?: (lost: LostKeys) => void;
  readonly signal?: AbortSignal | undefined;
}

export class BackupReader {
  readonly snap: Snap;
  /** What was committed between the backup and the moment. */
  readonly changes: LoggedChanges | undefined;
  readonly chunks: VaultReader;
  readonly #source: ChunkSource;

  private constructor({ snap, changes }: RestorePoint, chunks: VaultReader) {
    this.snap = snap;
    this.changes = changes;
    this.chunks = chunks;
    this.#source = {
      read: (id) => chunks.read(id, 0),
      // Every read has compared them already.
      mismatch: async (id) =>
        corrupt(`chunk ${toHex(id)} has other bytes than its id says`, { file: 'vault' }),
      readSync: () => {
        throw new VarveError('VARVE_INVALID_ARGUMENT', 'a backup cannot be read on the calling thread');
      },
    };
  }

  /**
   * The backup that options name, with what was archived behind it where they name a moment. VARVE_NOT_FOUND,
   * VARVE_HISTORY_GONE, VARVE_CORRUPT, VARVE_IO.
   */
  static async open(env: VaultEnv, options: { backup?: string; at?: Date }): Promise<BackupReader> {
    const point = await pointOf(env, options);
    const state = await loadVault(env, everyPack);
    await adoptOrphans(env, state, everyPack);
    return new BackupReader(point, new VaultReader(env, state));
  }

  /** Numbers of the named spaces. VARVE_CORRUPT. */
  async spaces(): Promise<Map<string, number>> {
    const rows = new Map<string, { key: Uint8Array; value: Uint8Array | undefined }>();
    const system = { to: Uint8Array.of(keyTreeTags.keys) };
    for await (const leaf of leavesOf(this.chunks, this.snap.manifest, system)) {
      while (leaf.next() && leaf.key[0] === keyTreeTags.system) {
        const prefix = leaf.key.slice(1, leaf.keyBytes);
        const value = leaf.buf.slice(leaf.recordFrom, leaf.recordTo);
        rows.set(toHex(prefix), { key: sysKeyOf(prefix), value });
      }
    }
    for (const { prefix, value } of this.changes?.system() ?? [])
      rows.set(toHex(prefix), { key: sysKeyOf(prefix), value });
    const found = new Map<string, number>();
    for (const { key, value } of rows.values()) {
      const named = value === undefined ? undefined : spaceNamed(key, value);
      if (named !== undefined) found.set(named.name, named.number);
    }
    return found;
  }

  /** The number of a space of this name; 0 without one. VARVE_NOT_FOUND. */
  async spaceNumber(name: string | undefined): Promise<number> {
    if (name === undefined) return 0;
    const number = (await this.spaces()).get(name);
    if (number !== undefined) return number;
    throw new VarveError('VARVE_NOT_FOUND', `no space ${JSON.stringify(name)} in the backup`);
  }

  /** Keys within the ranges, in order. */
  async *rows(ranges: readonly TreeRange[], options: RowsOptions = {}): AsyncGenerator<BackupKey> {
    const { onLost, signal } = options;
    for (const range of ranges) {
      const walk = { ...range, ...(onLost === undefined ? {} : { onLost }) };
      const overlay = new RowOverlay(this.changes, range);
      for await (const leaf of leavesOf(this.chunks, this.snap.manifest, walk)) {
        while (leaf.next()) {
          if (leaf.record === undefined || !isWithin(leaf, range)) continue;
          throwIfAborted(signal);
          const prefix = leaf.key.slice(1, leaf.keyBytes);
          for (const { prefix: before, seq, value } of overlay.before(prefix))
            yield keyOf(before, seq, value);
          if (!overlay.keeps(prefix, leaf.seq)) continue;
          yield keyOf(prefix, leaf.seq, leaf.buf.slice(leaf.recordFrom, leaf.recordTo));
        }
      }
      for (const { prefix, seq, value } of overlay.rest()) {
        throwIfAborted(signal);
        yield keyOf(prefix, seq, value);
      }
    }
  }

  /** The bytes of a value, piece by piece. */
  valueOf(record: ValueRecord): RangeReader {
    return new RangeReader(record, 0, record.size, this.#source);
  }

  /** The same as an iterable; each piece is the caller's. */
  async *pieces(record: ValueRecord): AsyncGenerator<Uint8Array> {
    const reader = this.valueOf(record);
    try {
      for (let piece = await reader.next(); piece !== undefined; piece = await reader.next())
        yield piece.chunk.subarray(piece.from, piece.to);
    } finally {
      reader.cancel();
    }
  }
}

/** `bytes`: the record, kept by what is returned. */
function keyOf(prefix: Uint8Array, seq: Seq, bytes: Uint8Array): BackupKey {
  const internal = encodeInternalKey(prefix, 0);
  const { userKey } = decodeInternalKey(internal, 0, internal.length);
  const record = parseValueRecord(bytes, 0, bytes.length, { file: 'backup' });
  return { prefix, space: spaceOf(prefix, 0), key: userKey, seq, record };
}
