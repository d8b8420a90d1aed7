/** What concerns a whole store, whichever of its spaces is asked. */

import type { ArchiveReport } from '../backup/archive-run.ts';
import type { BackupOptions, BackupReport } from '../backup/backup-run.ts';
import type { Vault } from '../backup/vault.ts';
import type { VerifyReport } from '../integrity/verify-types.ts';
import { type ArchiveOptions, archiveStore } from './backups/archiving.ts';
import { backupStore } from './backups/backups.ts';
import { type LiveRestoreOptions, type LiveRestoreReport, restoreInto } from './backups/live-restore.ts';
import { type ScheduleList, schedulesOf } from './backups/schedules.ts';
import { compact } from './cleaning/compact.ts';
import type { CompactOptions, CompactReport } from './cleaning/space-types.ts';
import type { EngineEvents, Listener } from './events.ts';
import { type ScrubOptions, type ScrubReport, scrub } from './health/scrub.ts';
import { type VerifyOptions, verify } from './health/verifying.ts';
import { type SnapshotList, snapshotsOf } from './history/snapshots.ts';
import { type SpaceList, spacesOf } from './spaces/space-list.ts';
import { statsOf } from './stats.ts';
import type { Store } from './store.ts';
import type { Health, Stats } from './types.ts';
import { RangeDeletes } from './writing/range-deletes.ts';

/** The part of Engine that is the same for every space: looking after the store, its figures, its end. */
export class WholeStore {
  readonly #store: Store;
  /** Named spaces of the store. */
  readonly spaces: SpaceList;
  /** Named states of the store. */
  readonly snapshots: SnapshotList;
  /** Schedules of backups, kept in the store. */
  readonly schedules: ScheduleList;

  constructor(store: Store) {
    this.#store = store;
    this.snapshots = snapshotsOf(store);
    this.schedules = schedulesOf(store);
    this.spaces = spacesOf(store, new RangeDeletes(store));
  }

  /**
   * Backs the whole store up, all spaces, as of the moment of the call, while it goes on being used; also a
   * store that is read-only or damaged, whose damaged keys are left out and listed. The backup exists when
   * the promise resolves. VARVE_CONFLICT when a prune of the vault gave the run up, or one is under way;
   * VARVE_CORRUPT when the keys cannot be listed; VARVE_ABORTED; whatever the target refuses. After an error
   * run it again: what was sent is used.
   */
  backup(vault: Vault, options?: BackupOptions): Promise<BackupReport> {
    return this.#store.run(() => backupStore(this.#store, vault, options));
  }

  /**
   * Archives what was committed since the last call into the vault, beside the backups, so that `restore` can
   * go to any moment from the last backup before it on: call it often, or once with `everyMs`. Only what is
   * durable is archived. It begins at a backup: VARVE_NOT_FOUND where the vault has none of this store. The
   * log must be there still: what `changesRetention` no longer keeps is VARVE_HISTORY_GONE, and a new backup
   * is where an archive can go on from. VARVE_CONFLICT where one is under way; VARVE_ABORTED; whatever the
   * target refuses: call it again.
   */
  archive(vault: Vault, options?: ArchiveOptions): Promise<ArchiveReport> {
    return archiveStore(this.#store, vault, options);
  }

  /**
   * Puts keys of a backup back into this store, beside whatever else it holds: all of them, those of a space,
   * of prefixes, or single ones. Keys that exist stay unless `overwrite` is given. Each key is a put of its
   * own, with a number and a time of now; indexes follow. May be called again after an error: what is there
   * already is passed over. What is damaged in the vault is listed. VARVE_NOT_FOUND (backup or space),
   * VARVE_HISTORY_GONE when the state of the moment is not known, VARVE_ABORTED, and as put.
   */
  restore(vault: Vault, options?: LiveRestoreOptions): Promise<LiveRestoreReport> {
    return this.#store.run(() => restoreInto(this.#store, vault, options));
  }

  /** Puts everything acknowledged so far on disk and into tables, whatever the durability mode. */
  flush(): Promise<void> {
    return this.#store.run(async () => {
      const { checkpointer, compactor } = this.#store.writable();
      await checkpointer.run();
      if (this.#store.parts.flushMerges) await compactor.idle();
    });
  }

  /**
   * Frees what nobody needs any more: merges tables, empties segments with garbage into new ones, removes
   * files. Reads and writes go on meanwhile. May be called again and again, and be ended by its signal: what
   * is done stays done. VARVE_ABORTED, VARVE_NO_SPACE, and as put.
   */
  compact(options?: CompactOptions): Promise<CompactReport> {
    return this.#store.run(() => compact(this.#store, options));
  }

  /**
   * Forgets blocks, chunks and pieces of filters and indexes kept in memory, for measurements of cold reads;
   * the counts in stats() go on.
   */
  dropCaches(): void {
    this.#store.assertReadable();
    this.#store.parts.blockCache.clear();
    this.#store.forest.dropPieces();
  }

  /** Figures of the store; reads no file. */
  stats(): Stats {
    this.#store.assertReadable();
    return statsOf(this.#store);
  }

  /** What is known to be wrong, if anything; reads no file. */
  health(): Health {
    this.#store.assertReadable();
    return this.#store.companions.health();
  }

  /**
   * Checks the files of the store, all spaces of it, and lists each damaged place with the keys it affects;
   * what is found health() lists too. Writes nothing, works beside writes, on readOnly and on degraded
   * stores. With `maxMs` it may end early: go on with the `cursor` of the report. VARVE_CORRUPT only where
   * nothing can be checked at all; VARVE_INVALID_ARGUMENT, VARVE_ABORTED, VARVE_IO.
   */
  verify(options?: VerifyOptions): Promise<VerifyReport> {
    return this.#store.run(() => verify(this.#store, options));
  }

  /** Holds up the emptying of segments, by compact and in the background, until `resumeCleaning`. */
  pauseCleaning(): void {
    this.#store.writable().cleaner.gate.pause();
  }

  /** Lets it go on. */
  resumeCleaning(): void {
    this.#store.writable().cleaner.gate.resume();
  }

  /**
   * Checks the files that were not checked for longest, as verify does, and remembers across restarts what
   * was found sound: another call, also after one that ended early, goes on with the rest. Writes nothing but
   * that record (`checks`). Errors as of verify; VARVE_READ_ONLY, VARVE_NO_SPACE.
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport> {
    return this.#store.run(async () => {
      this.#store.writable();
      return await scrub(this.#store, options);
    });
  }

  /**
   * Waits for the calls under way, makes everything durable, seals the files and releases the lock.
   * Idempotent. VARVE_POISONED when an earlier write failed: the store is closed all the same, the next open
   * recovers it.
   */
  close(): Promise<void> {
    return this.#store.close();
  }

  /** Calls `listener` at each event of the store from now on, once what it tells of can be read. */
  on<E extends keyof EngineEvents>(event: E, listener: Listener<E>): void {
    this.#store.listeners.add(event, listener);
  }

  off<E extends keyof EngineEvents>(event: E, listener: Listener<E>): void {
    this.#store.listeners.remove(event, listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
