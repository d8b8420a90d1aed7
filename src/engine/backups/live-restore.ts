/**
 * Restores keys of a backup into the store that is open, beside whatever else it holds. Each key is a put of
 * its own, so readers see it whole or as it was; a run that was ended goes on where it is called again,
 * since keys that are there already are passed over.
 *
 * Invariants (test/backup/live-restore.test.ts)
 * - No key outside the choice is touched, and none that exists unless `overwrite` says so, also by writers at
 *   the same time ("keys that are there stay, others come back").
 * - What is put has the bytes, metadata and expiry of the backup ("a restored key is what the backup has").
 */
import { damageOf, type VaultDamage, type VaultProgress } from '../../backup/backup-info.ts';
import { type BackupKey, BackupReader } from '../../backup/backup-reader.ts';
import { eachOf } from '../../backup/each-of.ts';
import { keyText, treeKeyText } from '../../backup/key-text.ts';
import {
  checkChoice,
  choiceNames,
  everyKey,
  isEverything,
  type RestoreChoice,
  rangesOf,
} from '../../backup/restore-choice.ts';
import { checkVault, type Vault } from '../../backup/vault.ts';
import { equalBytes, toHex } from '../../base/bytes.ts';
import { invalid, isDamage, isVarveError, type VarveError } from '../../base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../../base/names.ts';
import { expiryFeature } from '../../format/format-ladder.ts';
import { recordForms, type ValueRecord } from '../../format/value-record.ts';
import { recordDigest } from '../../value/value-writer.ts';
import { rowPrefix, throwIfAborted } from '../key-args.ts';
import { Reads } from '../reading/reads.ts';
import type { Store, WriteSide } from '../store.ts';
import { Writes } from '../writing/writes.ts';
import { checkPoint } from './restore-point.ts';

/** What to restore, and where to. */
export interface LiveRestoreOptions extends RestoreChoice {
  /** Id of the backup, or the beginning of one; 'latest' (default). */
  backup?: string;
  /**
   * The state of this moment, instead of `backup`: the newest backup that was begun at or before it and,
   * where the log behind was archived, every commit up to it.
   */
  at?: Date;
  /**
   * The space that takes the keys; '' are the store's own keys. Default: each space takes its own. Only with
   * a choice of one space.
   */
  into?: string;
  /** Also replaces keys that exist and differ. Default false: they stay, and are counted. */
  overwrite?: boolean;
  /** Reads and checks everything, and writes nothing: what would be done, and proof that it can be. */
  dryRun?: boolean;
  onProgress?: (progress: VaultProgress) => void;
  signal?: AbortSignal;
}

/** What a restore into an open store did. */
export interface LiveRestoreReport {
  /** Nothing that was asked for is damaged in the vault. */
  readonly ok: boolean;
  readonly dryRun: boolean;
  /** Id of the backup. */
  readonly backup: string;
  /** Commits from the archived log that were laid over the backup. */
  readonly replayed: number;
  /** Keys put, and the bytes of their values. */
  readonly keys: number;
  readonly bytes: number;
  /** Keys that were there just so. */
  readonly same: number;
  /** Keys that are there with something else and stay, since `overwrite` was not given. */
  readonly kept: number;
  /** Keys that have expired since the backup. */
  readonly expired: number;
  readonly ms: number;
  /** What was damaged in the vault and was not put; at most 1,000 are listed. */
  readonly damage: readonly VaultDamage[];
}

/** Values under way at once; each holds a few chunks. */
const atOnce = 4;
const damageMax = 1000;
const names = [
  ...['backup', 'at', 'into', 'overwrite', 'dryRun', 'onProgress', 'signal'],
  ...choiceNames,
] as const;

/** See Engine.restore. */
export async function restoreInto(
  store: Store,
  target: Vault,
  options: LiveRestoreOptions = {},
): Promise<LiveRestoreReport> {
  const vault = checkVault(target);
  checkNames(options, names, 'restore option');
  checkChoice(options);
  checkPoint(options);
  checkFlags(options, ['overwrite', 'dryRun']);
  checkFunctions(options, ['onProgress']);
  const { into, dryRun } = options;
  if (into !== undefined && typeof into !== 'string') throw invalid('into is the name of a space');
  if (into !== undefined && isEverything(options))
    throw invalid('into needs a choice of keys of one space: prefix, prefixes, keys or space');
  throwIfAborted(options.signal);
  if (dryRun !== true) store.writable();
  return await new LiveRestore(store, vault, options).run();
}

class LiveRestore {
  readonly #store: Store;
  readonly #vault: Vault;
  readonly #options: LiveRestoreOptions;
  readonly #reads: Reads;
  readonly #writes: Writes;
  readonly #startedAt: number;
  #reader!: BackupReader;
  readonly #damage: VaultDamage[] = [];
  #damaged = 0;
  #keys = 0;
  #bytes = 0;
  #same = 0;
  #kept = 0;
  #expired = 0;
  #seen = 0;

  constructor(store: Store, vault: Vault, options: LiveRestoreOptions) {
    this.#store = store;
    this.#vault = vault;
    this.#options = options;
    this.#reads = new Reads(store);
    this.#writes = new Writes(store);
    this.#startedAt = vault.env.clock.monotonic();
  }

  async run(): Promise<LiveRestoreReport> {
    const options = this.#options;
    this.#reader = await BackupReader.open(this.#vault.env, options);
    const names = new Map(Array.from(await this.#reader.spaces(), ([name, number]) => [number, name]));
    const number = await this.#reader.spaceNumber(options.space);
    const ranges = isEverything(options) ? [everyKey] : rangesOf(options, number);
    const rows = this.#reader.rows(ranges, {
      signal: options.signal,
      onLost: ({ error, after, last }) => {
        const from = after === undefined ? 'the first' : treeKeyText(after);
        this.#note(error, `${from} .. ${last === undefined ? 'the last' : treeKeyText(last)}`);
      },
    });
    await eachOf(rows, atOnce, async (row) => {
      const name = options.into ?? (row.space === 0 ? '' : names.get(row.space));
      // A space whose name cannot be read: its keys have nowhere to go.
      if (name === undefined) this.#note(undefined, keyText(row.prefix));
      else await this.#one(row, name === '' ? 0 : this.#store.parts.spaces.numberOf(name));
      if ((++this.#seen & 63) === 0) this.#progress();
    });
    this.#progress();
    return this.#report();
  }

  async #one(row: BackupKey, space: number): Promise<void> {
    const { expireAtMs, size } = row.record;
    if (expireAtMs !== undefined && expireAtMs <= this.#store.nowMs) {
      this.#expired++;
      return;
    }
    const prefix = rowPrefix(space, row.key);
    const moment = { seq: this.#store.visibleSeq, expiryMs: this.#store.nowMs };
    const found = await this.#reads.find(prefix, moment);
    if (found !== undefined && isSame(found.record, row.record)) {
      this.#same++;
      return;
    }
    if (found !== undefined && this.#options.overwrite !== true) {
      this.#kept++;
      return;
    }
    try {
      if (this.#options.dryRun === true) await this.#prove(row.record);
      else await this.#put(row, space, prefix);
    } catch (error) {
      const isTaken = isVarveError(error, 'VARVE_CONFLICT') && this.#options.overwrite !== true;
      if (isTaken) {
        this.#kept++;
        return;
      }
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      this.#note(error, keyText(row.prefix));
      return;
    }
    this.#keys++;
    this.#bytes += size;
  }

  async #prove(record: ValueRecord): Promise<void> {
    for await (const _piece of this.#reader.pieces(record)) throwIfAborted(this.#options.signal);
  }

  async #put({ record }: BackupKey, space: number, prefix: Uint8Array): Promise<void> {
    const { signal, overwrite } = this.#options;
    const writes = this.#writes;
    const write: WriteSide = this.#store.stillWritable();
    await writes.relieve(write);
    const { expireAtMs } = record;
    if (expireAtMs !== undefined) await write.checkpointer.require(expiryFeature);
    const { buf, bodyFrom, form, size, metadataFrom, metadataTo } = record;
    const value =
      form === recordForms.inline ? buf.slice(bodyFrom, bodyFrom + size) : this.#reader.pieces(record);
    const prepared = await writes.prepare(value, false, signal);
    try {
      throwIfAborted(signal);
      await write.txn.warm(prefix);
      this.#store.stillWritable();
      const metadata = metadataTo > metadataFrom ? buf.slice(metadataFrom, metadataTo) : undefined;
      const ifSeq = overwrite === true ? undefined : 0;
      // What never expired does not begin to, whatever the space says of new values; anything else expires at
      // the moment it had, so that a second run finds it just so.
      const expiry = expireAtMs === undefined ? { ttlMs: Number.POSITIVE_INFINITY } : { expireAtMs };
      await writes.commitPut(write, space, prefix, prepared, ifSeq, metadata, expiry);
    } finally {
      prepared.release();
    }
  }

  #note(error: VarveError | undefined, key: string): void {
    this.#damaged++;
    if (this.#damage.length >= damageMax) return;
    if (error !== undefined) this.#damage.push(damageOf(error, { keys: [key] }));
    else {
      const message = 'the space of the key has no name in the backup';
      this.#damage.push({ file: this.#reader.snap.name, kind: 'VARVE_CORRUPT', message, keys: [key] });
    }
  }

  #report(): LiveRestoreReport {
    return {
      ok: this.#damaged === 0,
      dryRun: this.#options.dryRun === true,
      backup: this.#reader.snap.id,
      replayed: this.#reader.changes?.commits ?? 0,
      keys: this.#keys,
      bytes: this.#bytes,
      same: this.#same,
      kept: this.#kept,
      expired: this.#expired,
      ms: Math.round(this.#vault.env.clock.monotonic() - this.#startedAt),
      damage: this.#damage,
    };
  }

  #progress(): void {
    const seconds = (this.#vault.env.clock.monotonic() - this.#startedAt) / 1000;
    this.#options.onProgress?.({
      phase: 'restore',
      done: this.#seen,
      total: isEverything(this.#options) ? this.#reader.snap.manifest.keys : undefined,
      unit: 'keys',
      bytesPerSecond: seconds > 0 ? this.#bytes / seconds : 0,
    });
  }
}

/** Equal bytes, metadata and expiry; numbers and times of the versions are their own. */
function isSame(a: ValueRecord, b: ValueRecord): boolean {
  const metadata = ({ buf, metadataFrom, metadataTo }: ValueRecord): Uint8Array =>
    buf.subarray(metadataFrom, metadataTo);
  return (
    a.size === b.size &&
    a.expireAtMs === b.expireAtMs &&
    equalBytes(metadata(a), metadata(b)) &&
    toHex(recordDigest(a)) === toHex(recordDigest(b))
  );
}
