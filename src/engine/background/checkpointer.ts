/**
 * Checkpoints: memtables become tables, the log starts a new file, a catalog names both.
 *
 *   freeze all trees and cut the log at one number S  ->  old log durable, new log in place
 *   -> open segments synced  ->  tables written and proven  ->  catalog installed  ->  tables swapped in
 *   -> files that nothing names any more unlinked
 *
 * Invariants (test/engine/checkpointer.test.ts):
 * - freeze and cut happen in one synchronous section, so the tables hold exactly the transactions up to S;
 * - tables that could not be written are written anew from memory, and after three failures writes stop;
 * - one checkpoint runs at a time; a request during one is served by the next.
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import { Mutex } from '../../base/sync.ts';
import type { CatalogStore, NextCatalog } from '../../catalog/catalog-store.ts';
import type { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { CatalogTable, NumberedFile } from '../../format/catalog.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { LogEnd, LogHistory } from '../../log/log-history.ts';
import type { LogWriter } from '../../log/log-writer.ts';
import type { Forest, FrozenSet } from '../../tree/forest.ts';
import type { MergePace } from '../../tree/merge-slice.ts';
import { growReserve } from '../cleaning/reserve.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { HeldFile, LeaseGate } from '../leases/lease-gate.ts';
import type { Logger } from '../options.ts';
import { FlushPace } from './flush-pace.ts';
import { bytesNamed } from './log-history-room.ts';
import { Removals } from './removals.ts';

/** Failures of the table writer before the engine refuses writes. */
const flushTriesMax = 3;

export interface CheckpointerOptions {
  readonly env: Env;
  readonly catalogs: CatalogStore;
  readonly forest: Forest;
  readonly lanes: SegmentLanes;
  readonly log: GroupCommit;
  readonly health: HealthBook;
  readonly logger: Logger;
  /** Readers in other processes, for whom files are kept. */
  readonly leases: LeaseGate;
  /** Old log files that are kept for change feeds. */
  readonly logHistory: LogHistory;
  /** Makes the log file that follows the one that ended so. */
  readonly nextLog: (openSeq: Seq, before: LogEnd) => Promise<LogWriter>;
  /** The log file in use; undefined: none was needed so far. */
  readonly logFile: LogWriter | undefined;
  /** Bytes of the log at which a checkpoint begins. */
  readonly logBytes: number;
  readonly onFailed: (error: unknown) => void;
  /** A checkpoint is done: tables were added. */
  readonly onDone: () => void;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #logFile: LogWriter | undefined;
  /** Each install goes on from the one before it. */
  readonly #installs = new Mutex();
  /** Tables that may go, once nobody reads them. */
  readonly #heldBack = new Map<string, HeldFile>();
  readonly #removals: Removals;
  /** Others commit than cleaning itself. */
  othersCommit: () => boolean = () => false;
  #flushedBytes = 0;
  readonly #pace: FlushPace;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#logFile = options.logFile;
    const { env, catalogs } = options;
    this.#pace = new FlushPace(env.clock);
    this.#removals = new Removals({
      clock: env.clock,
      othersCommit: () => this.othersCommit(),
      remove: (files, around) => catalogs.cleanUp(files, this.#stays, around),
    });
  }

  /** Segments that nothing needs any more, on their way out. */
  get removals(): Pick<Removals, 'done' | 'end'> {
    return this.#removals;
  }

  /** Undefined until something is written to a store that was found at rest. */
  get logFile(): LogWriter | undefined {
    return this.#logFile;
  }

  /** Bytes of tables written by checkpoints. */
  get flushedBytes(): number {
    return this.#flushedBytes;
  }

  /**
   * Starts a checkpoint when memtables or the log are full. Never throws: failures stop the engine's writes.
   */
  startIfDue(): void {
    const { forest, log } = this.#options;
    if (this.#running !== undefined || log.failure !== undefined) return;
    if (!forest.full && (this.#logFile?.end ?? 0) < this.#options.logBytes) return;
    // A failure has stopped all writes by then; who awaits nothing needs no second report.
    this.run().catch(() => undefined);
  }

  /** The checkpoint under way, for writers that must wait because memory is full. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  /** Ms that a checkpoint takes for each mebibyte of memory it frees, while one is under way; else 0. */
  get msPerMiB(): number {
    return this.#running === undefined ? 0 : this.#pace.msPerMiB;
  }

  /**
   * Makes a checkpoint of everything sequenced before the call. Calls during one share the next. A failure
   * stops the engine's writes: what was frozen stays readable, and in the log.
   */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#begin();
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#begin();
      });
    return this.#next;
  }

  /** Makes a file of the log, which then is the one in use: it goes on from `before`. */
  async begin(openSeq: Seq, before: LogEnd, make: () => Promise<LogWriter>): Promise<LogWriter> {
    const file = await make();
    this.#logFile = file;
    this.#options.logHistory.turned({ no: file.no, openSeq, ...before });
    return file;
  }

  #begin(): Promise<void> {
    this.#running = this.#checkpoint()
      .catch((error: unknown) => {
        this.#options.onFailed(error);
        throw error;
      })
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #checkpoint(): Promise<void> {
    const { forest, log, lanes, catalogs } = this.#options;
    this.#pace.begin(forest.bytesUsed);
    const frozen = forest.freeze();
    let old: LogWriter | undefined;
    const cut = log.cut((openSeq, prevEndOffset) => {
      old = this.#logFile!;
      const before = { prevFileNo: old.no, prevEndOffset, prevLastSeq: openSeq - 1 };
      return this.begin(openSeq, before, () => this.#options.nextLog(openSeq, before));
    });
    await cut.done;
    await old!.close();
    await lanes.syncAll();
    const tables = await this.#flush(frozen);
    const installed = await this.install(cut.lastSeq, this.#logFile!.no, tables, []);
    await forest.install(frozen, tables, this.#slices);
    this.#pace.end();
    await this.cleanUp(installed);
    await this.#setAside();
    for (const { size } of tables) this.#flushedBytes += size;
    this.#options.onDone();
    this.#options.logger.debug?.('checkpoint', { seq: cut.lastSeq, tables: catalogs.catalog.tables.length });
  }

  /** Space against a full disk, by the size of the store. */
  async #setAside(): Promise<void> {
    const { catalogs, env, logger } = this.#options;
    await growReserve(env.fs, bytesNamed(catalogs.catalog), env.random, logger);
  }

  /** Installs a catalog with `added` tables; returns what may be unlinked now. */
  async install(
    checkpointSeq: Seq,
    walFirstNo: FileNo,
    added: readonly CatalogTable[],
    dropped: NumberedFile[],
  ): Promise<NumberedFile[]> {
    const { catalogs, lanes } = this.#options;
    return await this.#installs.run(async () => {
      const { timelineId, features, tables } = catalogs.catalog;
      const { unlinkable } = await catalogs.install({
        checkpointSeq,
        walFirstNo,
        timelineId,
        features,
        tables: [...tables, ...added],
        sealed: lanes.sealed(),
        unsealed: lanes.unsealed(),
        dropped,
      });
      return unlinkable;
    });
  }

  /** Marks the store as one whose readers must know a feature of `catalogFeatures`; once, then for good. */
  async require(feature: number): Promise<void> {
    const { catalogs, onFailed } = this.#options;
    const isKnown = (): boolean => (catalogs.catalog.features & feature) !== 0;
    if (isKnown()) return;
    const unlinkable = await this.#installs.run(async () => {
      if (isKnown()) return [];
      try {
        return await this.#amend({ features: catalogs.catalog.features | feature });
      } catch (error) {
        onFailed(error);
        throw error;
      }
    });
    await this.cleanUp(unlinkable);
  }

  /**
   * Installs the current catalog with other tables: those with the numbers `removed` go, `added` come. The
   * checkpoint and the segments stay as they were, since nothing here has synced a segment. Returns what may
   * be unlinked now.
   */
  async replaceTables(
    removed: readonly FileNo[],
    added: readonly CatalogTable[],
  ): Promise<readonly NumberedFile[]> {
    return await this.#installs.run(async () => {
      const kept = this.#options.catalogs.catalog.tables.filter(({ no }) => !removed.includes(no));
      const stays = new Set(added.map(({ no }) => no));
      return await this.#amend({
        tables: [...kept, ...added],
        dropped: removed.filter((no) => !stays.has(no)).map((no) => ({ kind: 'tab', no })),
      });
    });
  }

  /**
   * Installs the current catalog without these sealed segments, for which the caller has made sure that
   * neither a reader nor the log behind the checkpoint needs them. An empty list only renews the catalog,
   * which lets go of what the one before it kept. A failure stops the engine's writes.
   */
  async removeSegments(removed: readonly FileNo[]): Promise<void> {
    const { catalogs, lanes, onFailed } = this.#options;
    const unlinkable = await this.#installs.run(async () => {
      const stays = ({ no }: { no: FileNo }): boolean => !removed.includes(no);
      const { sealed, unsealed } = catalogs.catalog;
      try {
        const free = await this.#amend({
          sealed: sealed.filter(stays),
          unsealed: unsealed.filter(stays),
          dropped: removed.map((no) => ({ kind: 'seg', no })),
        });
        // In the same turn: a checkpoint behind this one names what the lanes know.
        for (const no of removed) lanes.forget(no);
        return free;
      } catch (error) {
        onFailed(error);
        throw error;
      }
    });
    await this.cleanUp(unlinkable);
  }

  /** Installs the current catalog with `changes`, one install at a time; returns what may be unlinked now. */
  async #amend(changes: Partial<NextCatalog>): Promise<readonly NumberedFile[]> {
    const { catalogs } = this.#options;
    const { checkpointSeq, walFirstNo, timelineId, features, tables, sealed, unsealed } = catalogs.catalog;
    const live = { checkpointSeq, walFirstNo, timelineId, features, tables, sealed, unsealed };
    const { unlinkable } = await catalogs.install({ ...live, dropped: [], ...changes });
    return unlinkable;
  }

  /** Files that nothing here needs any more: the next `cleanUp` looks whether readers do. */
  hold(files: readonly NumberedFile[]): void {
    const { catalogs, env } = this.#options;
    const { generation } = catalogs.slot;
    for (const file of files) {
      const name = nameOf(file);
      if (!this.#heldBack.has(name))
        this.#heldBack.set(name, { file, generation, since: env.clock.monotonic() });
    }
  }

  /**
   * Unlinks; tables that somebody still reads wait for a later call, or for the next open. Segments go in the
   * background: `removals` says when.
   */
  async cleanUp(files: readonly NumberedFile[]): Promise<void> {
    const { catalogs, forest, leases } = this.#options;
    this.hold(files);
    const listed = Array.from(this.#heldBack.values());
    this.#heldBack.clear();
    const parted = await leases.part(listed);
    // Tables may have found readers of our own meanwhile.
    const isRead = ({ file }: HeldFile): boolean => file.kind === 'tab' && forest.isHeld(file.no);
    for (const held of [...parted.held, ...parted.ready.filter(isRead)])
      this.#heldBack.set(nameOf(held.file), held);
    const all = parted.ready.filter((each) => !isRead(each)).map(({ file }) => file);
    const old = all.filter(({ kind }) => kind === 'wal').map(({ no }) => no);
    const going = new Set(await this.#options.logHistory.mayGo(old, this.#stays));
    this.#removals.add(all.filter(({ kind }) => kind === 'seg'));
    const ready = all.filter(({ kind, no }) => kind !== 'seg' && (kind !== 'wal' || going.has(no)));
    await catalogs.cleanUp(ready, this.#stays);
  }

  #stays = (error: unknown, path: string): void =>
    this.#options.logger.warn?.('could not unlink', { path, error });

  /** How a checkpoint shares the thread where it would keep it for long. */
  get #slices(): MergePace {
    const { clock } = this.#options.env;
    return { monotonic: () => clock.monotonic(), turn: () => clock.turn(), cancelled: () => false };
  }

  async #flush(frozen: FrozenSet): Promise<CatalogTable[]> {
    const { forest, catalogs, env, logger } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        return await forest.flush(frozen, () => catalogs.takeFileNo(), env.random, this.#slices);
      } catch (error) {
        logger.warn?.('writing tables failed', { tries, error });
        if (tries === flushTriesMax) throw error;
      }
    }
  }
}

function nameOf({ kind, no }: NumberedFile): string {
  return `${kind}/${no}`;
}
