/**
 * Restores a backup into a new store. Every chunk is checked against its id on the way; what is damaged in
 * the vault is left out key by key and listed; where all keys are restored, the key tree is built again from
 * what was written and must have the root of the backup.
 */
import type { Seq } from '../base/brands.ts';
import { equalBytes, toHex } from '../base/bytes.ts';

import { corrupt, isDamage, isVarveError, VarveError } from '../base/errors.ts';
import { segmentBytesTarget } from '../base/limits.ts';
import { refCount, setPlace } from '../format/canonical-record.ts';
import { expiryFeature } from '../format/format-ladder.ts';
import { type KeyTreeNode, keyTreeTags } from '../format/key-tree-node.ts';
import { expiryKey } from '../format/system-rows.ts';
import { parseValueRecord, refIdAt, type ValueRecord } from '../format/value-record.ts';
import type { FsPort } from '../fs/port.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { pointOf, type RestorePoint } from './archived-changes.ts';
import { damageOf, decodeExtra, type VaultDamage, type VaultProgress } from './backup-info.ts';
import { ChunkIntake } from './chunk-intake.ts';
import { ChunkTable } from './chunk-table.ts';
import type { ChunkOwner } from './intake-window.ts';
import { keyText, treeKeyText } from './key-text.ts';
import { KeyTreeBuilder } from './key-tree-builder.ts';
import { leavesOf, visitChunks, type WalkOptions } from './key-tree-walk.ts';
import type { ChangedRow, LoggedChanges } from './logged-changes.ts';
import {
  choiceText,
  everyKey,
  isEverything,
  isWithin,
  type RestoreChoice,
  rangesOf,
} from './restore-choice.ts';
import { restoreNoteName, takeLeftovers, unfinishedRestore, writeNote } from './restore-leftovers.ts';
import { type LaterRow, RowOverlay } from './row-overlay.ts';
import type { Snap } from './snaps.ts';
import { StoreBuilder } from './store-builder.ts';
import { featuresOf, restoredValue, spaceNamed, sysKeyOf } from './system-rows.ts';
import { Slices, throwIfAborted } from './throttle.ts';
import { VaultReader } from './vault-reader.ts';
import { adoptOrphans, everyPack, loadVault, type VaultEnv } from './vault-state.ts';

/** Options of a restore. */
export interface RestoreOptions extends RestoreChoice {
  /** Id of the backup, or the beginning of one; 'latest' (default). */
  backup?: string;
  /**
   * The state of this moment, instead of `backup`: the newest backup that was begun at or before it and,
   * where the log behind was archived, every commit up to it.
   */
  at?: Date;
  onProgress?: (progress: VaultProgress) => void;
  signal?: AbortSignal;
}

/** What a restore did. */
export interface RestoreReport {
  /** Everything asked for is there. */
  readonly ok: boolean;
  /** Id of the backup. */
  readonly backup: string;
  /** Last commit of the state that was restored. */
  readonly seq: number;
  /** Commits from the archived log that were laid over the backup. */
  readonly replayed: number;
  readonly keys: number;
  /** Bytes of the values restored. */
  readonly bytes: number;
  readonly ms: number;
  /** What was damaged in the vault and is not in the store; at most 1,000 are listed. */
  readonly damage: readonly VaultDamage[];
  /** The whole tree was built again from what was read, and has the root of the backup. */
  readonly proved: boolean;
}

/** Test-only bounds. */
export interface RestoreBounds {
  readonly segmentBytes?: number;
  readonly memtableBytes?: number;
  readonly threads?: HashThreads | undefined;
}

const damageMax = 1000;
const memtableBytesDefault = 32 * 1024 * 1024;

/**
 * Restores into the directory `fs` stands on, which is empty or holds an unfinished restore of the same.
 * VARVE_CONFLICT otherwise; VARVE_NOT_FOUND where there is no such backup; VARVE_CORRUPT when what was
 * written does not have the root of the backup; VARVE_HISTORY_GONE when the state of the moment is not known;
 * VARVE_ABORTED, VARVE_NO_SPACE, VARVE_IO: run it again to go
 * on.
 */
export async function runRestore(
  env: VaultEnv,
  fs: FsPort,
  options: RestoreOptions,
  bounds: RestoreBounds = {},
): Promise<RestoreReport> {
  const point = await pointOf(env, options);
  const threads = env.threads?.();
  try {
    return await new RestoreRun(env, fs, point, options, { threads, ...bounds }).run();
  } finally {
    await threads?.close();
  }
}

class RestoreRun {
  readonly #env: VaultEnv;
  readonly #fs: FsPort;
  readonly #snap: Snap;
  readonly #options: RestoreOptions;
  readonly #bounds: RestoreBounds;
  readonly #slices: Slices;
  readonly #startedAt: number;
  readonly #damage: VaultDamage[] = [];
  #damaged = 0;
  /** List nodes whose children are counted. */
  readonly #counted = new ChunkTable();
  /** Of the backup's own rows: proof that all of them were read. */
  readonly #tree = new KeyTreeBuilder(() => undefined);
  readonly #changes: LoggedChanges | undefined;
  #builder!: StoreBuilder;
  #reader!: VaultReader;
  #intake!: ChunkIntake;
  #features = 0;
  #keys = 0;
  #bytes = 0;

  constructor(
    env: VaultEnv,
    fs: FsPort,
    point: RestorePoint,
    options: RestoreOptions,
    bounds: RestoreBounds,
  ) {
    const { snap, changes } = point;
    this.#changes = changes;
    this.#env = env;
    this.#fs = fs;
    this.#snap = snap;
    this.#options = options;
    this.#bounds = bounds;
    this.#slices = new Slices(env.clock, options.signal);
    this.#startedAt = env.clock.monotonic();
  }

  /** Last commit of the state that is restored, and when it was. */
  get #seq(): Seq {
    return this.#changes?.seq ?? this.#snap.manifest.seq;
  }

  get #timeMs(): number {
    return this.#changes?.timeMs ?? this.#snap.timeMs;
  }

  async run(): Promise<RestoreReport> {
    const { manifest, name } = this.#snap;
    const { backupId, vaultId } = manifest;
    const choice = choiceText(this.#options);
    const left = await unfinishedRestore(this.#fs, { vaultId, backupId, choice });
    const dbUuid = left?.dbUuid ?? this.#env.random(16);
    const { store } = decodeExtra(manifest.extra, name);
    this.#builder = await StoreBuilder.create(this.#fs, {
      identity: { ...store, dbUuid, timelineId: manifest.timelineId + 1 },
      seq: this.#seq,
      random: this.#env.random,
      segmentBytes: this.#bounds.segmentBytes ?? segmentBytesTarget,
      memtableBytes: this.#bounds.memtableBytes ?? memtableBytesDefault,
    });
    try {
      if (left === undefined) await writeNote(this.#fs, { vaultId, backupId, dbUuid, choice });
      await takeLeftovers(this.#fs, dbUuid, this.#builder);
      const state = await loadVault(this.#env, everyPack);
      await adoptOrphans(this.#env, state, everyPack);
      this.#reader = new VaultReader(this.#env, state, { keepsOpen: true });
      this.#intake = new ChunkIntake({
        reader: this.#reader,
        builder: this.#builder,
        threads: this.#bounds.threads,
        expected: isEverything(this.#options) ? manifest.logicalBytes : 0,
      });
      const whole = await this.#copy().finally(async () => {
        await this.#intake.release();
        await this.#reader.close();
      });
      const proved = whole && this.#damaged === 0 && (await this.#prove());
      throwIfAborted(this.#options.signal);
      await this.#builder.finish(this.#features);
      await this.#fs.unlink(restoreNoteName);
      return this.#report(proved);
    } catch (error) {
      await this.#builder.close();
      // Whoever writes after the write that failed is refused: what that failed with tells what to do.
      throw isVarveError(error, 'VARVE_POISONED') && error.cause !== undefined ? error.cause : error;
    }
  }

  /** Copies what was asked for; true when that is everything. */
  async #copy(): Promise<boolean> {
    const { manifest } = this.#snap;
    const spaces = await this.#systemRows();
    const { space } = this.#options;
    const isAll = isEverything(this.#options);
    const number = space === undefined ? 0 : spaces.get(space);
    if (number === undefined) throw new VarveError('VARVE_NOT_FOUND', `no space ${space} in the backup`);
    for (const range of isAll ? [everyKey] : rangesOf(this.#options, number)) {
      const overlay = new RowOverlay(this.#changes, range);
      for await (const leaf of leavesOf(this.#reader, manifest, this.#walk(range))) {
        while (leaf.next()) {
          if (leaf.record === undefined || !isWithin(leaf, range)) continue;
          const prefix = leaf.key.slice(1, leaf.keyBytes);
          for (const row of overlay.before(prefix)) await this.#laterRow(row);
          if (overlay.keeps(prefix, leaf.seq)) await this.#row(leaf, prefix);
          else await this.#countRow(leaf);
          const rest = this.#slices.step();
          if (rest !== undefined) await rest;
        }
      }
      for (const row of overlay.rest()) await this.#laterRow(row);
    }
    await this.#intake.finish();
    return isAll;
  }

  #walk(range: { from?: Uint8Array; to?: Uint8Array }): WalkOptions {
    return {
      ...range,
      onLost: ({ error, after, last }) => {
        const keys = `${after === undefined ? 'the first' : treeKeyText(after)} .. ${
          last === undefined ? 'the last' : treeKeyText(last)
        }`;
        this.#note(error, [keys]);
      },
    };
  }

  /** Rows of the system tree, those of the moment; the numbers of the spaces by name. */
  async #systemRows(): Promise<Map<string, number>> {
    const rows = new Map<string, ChangedRow>();
    const system = { to: Uint8Array.of(keyTreeTags.keys) };
    for await (const leaf of leavesOf(this.#reader, this.#snap.manifest, this.#walk(system))) {
      while (leaf.next() && leaf.key[0] === keyTreeTags.system) {
        const { buf, recordFrom, recordTo, seq, key, keyBytes } = leaf;
        const prefix = key.slice(1, keyBytes);
        rows.set(toHex(prefix), { prefix, seq, value: buf.slice(recordFrom, recordTo) });
        await this.#countRow(leaf);
      }
    }
    for (const row of this.#changes?.system() ?? []) rows.set(toHex(row.prefix), row);
    const spaces = new Map<string, number>();
    for (const { prefix, seq, value } of rows.values()) {
      if (value === undefined) continue;
      const sysKey = sysKeyOf(prefix);
      const named = spaceNamed(sysKey, value);
      if (named !== undefined) spaces.set(named.name, named.number);
      this.#features |= featuresOf(sysKey);
      await this.#builder.addSystemRow(sysKey, seq, restoredValue(sysKey, value, this.#seq, this.#timeMs));
    }
    return spaces;
  }

  /** The row belongs to the tree of the backup. */
  async #countRow(leaf: KeyTreeNode): Promise<void> {
    await this.#intake.behind(this.#counting(leaf));
  }

  /** Counts the row that the leaf stands on now, when it is called. */
  #counting({ key, keyBytes, seq, buf, recordFrom, recordTo, record }: KeyTreeNode): () => Promise<void> {
    const treeKey = key.slice(0, keyBytes);
    const size = record?.size ?? 0;
    return async () => {
      await this.#tree.add(treeKey, 0, keyBytes, seq, buf, recordFrom, recordTo, size);
    };
  }

  async #row(leaf: KeyTreeNode, prefix: Uint8Array): Promise<void> {
    const bytes = leaf.buf.slice(leaf.recordFrom, leaf.recordTo);
    await this.#put(prefix, leaf.seq, bytes, this.#counting(leaf));
  }

  async #laterRow({ prefix, seq, value }: LaterRow): Promise<void> {
    await this.#put(prefix, seq, value.slice(), async () => undefined);
  }

  /**
   * Adds a key to the store, `bytes` (taken) is its record, once its chunks are there, and calls `added`; one
   * that is damaged is noted.
   */
  async #put(prefix: Uint8Array, seq: Seq, bytes: Uint8Array, added: () => Promise<void>): Promise<void> {
    const own = parseValueRecord(bytes, 0, bytes.length, { file: 'backup' });
    const owner: ChunkOwner = { failed: undefined };
    try {
      await this.#chunksOf(own, owner);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      owner.failed = error;
    }
    await this.#intake.behind(async () => {
      if (owner.failed !== undefined) {
        this.#note(owner.failed, [keyText(prefix)]);
        return;
      }
      await this.#store(prefix, seq, bytes, own);
      await added();
    });
  }

  async #store(prefix: Uint8Array, seq: Seq, bytes: Uint8Array, own: ValueRecord): Promise<void> {
    for (let i = 0; i < refCount(own); i++) {
      const idAt = refIdAt(own, i);
      const place = this.#builder.findNow(bytes, idAt) ?? (await this.#builder.find(bytes, idAt));
      if (place === undefined) throw corrupt('a chunk that was stored is not found', { file: this.#fs.root });
      setPlace(own, i, place);
      this.#builder.addRef(bytes, idAt);
    }
    await this.#builder.addRow(prefix, seq, bytes);
    if (own.expireAtMs !== undefined) {
      this.#features |= expiryFeature;
      await this.#builder.addSystemRow(expiryKey(own.expireAtMs, prefix, seq), seq, new Uint8Array(0));
    }
    this.#keys++;
    this.#bytes += own.size;
    if ((this.#keys & 255) === 0) this.#progress();
  }

  /** Sees that the new store gets every chunk of the record, or `owner` is told. */
  async #chunksOf(record: ValueRecord, owner: ChunkOwner): Promise<void> {
    await visitChunks(record, {
      data: (buf, idAt) => {
        throwIfAborted(this.#options.signal);
        return this.#intake.take(buf, idAt, owner);
      },
      node: async (buf, idAt) => {
        if (this.#counted.has(buf, idAt)) return undefined;
        return await this.#reader.read(buf, idAt);
      },
      left: async (id, node) => {
        await this.#intake.behind(async () => {
          // Values may share it, and have been on their way together.
          if (owner.failed !== undefined || this.#counted.has(id)) return;
          await this.#builder.addNode(id, node);
          this.#counted.add(id, 0, 0, 0, 0, 0, 0, 0);
        });
      },
    });
  }

  /** What was written has the root of the backup: the same rows, all of them. VARVE_CORRUPT when not. */
  async #prove(): Promise<boolean> {
    const { rootId, keys } = await this.#tree.finish();
    const { rootNodeId, keys: expected } = this.#snap.manifest;
    if (equalBytes(rootId, rootNodeId) && keys === expected) return true;
    throw corrupt(
      'the restored keys do not have the root of the backup',
      { file: this.#snap.name },
      rootNodeId,
      rootId,
    );
  }

  #note(error: VarveError, keys: readonly string[]): void {
    this.#damaged++;
    if (this.#damage.length < damageMax) this.#damage.push(damageOf(error, { keys }));
  }

  #report(proved: boolean): RestoreReport {
    return {
      ok: this.#damaged === 0,
      backup: this.#snap.id,
      seq: this.#seq,
      replayed: this.#changes?.commits ?? 0,
      keys: this.#keys,
      bytes: this.#bytes,
      ms: Math.round(this.#env.clock.monotonic() - this.#startedAt),
      damage: this.#damage,
      proved,
    };
  }

  #progress(): void {
    const seconds = (this.#env.clock.monotonic() - this.#startedAt) / 1000;
    this.#options.onProgress?.({
      phase: 'restore',
      done: this.#keys,
      total: isEverything(this.#options) ? this.#snap.manifest.keys : undefined,
      unit: 'keys',
      bytesPerSecond: seconds > 0 ? this.#builder.bytes / seconds : 0,
    });
  }
}
