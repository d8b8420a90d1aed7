/** The writing half of an open: everything found is made durable under a new epoch, then writes may begin. */
import type { FileNo, Seq } from '../../base/brands.ts';
import { VarveError } from '../../base/errors.ts';
import { segmentSyncBytes } from '../../base/limits.ts';
import { CatalogStore } from '../../catalog/catalog-store.ts';
import { ChunkStore } from '../../chunk/chunk-store.ts';
import type { LocalityCache } from '../../chunk/locality-cache.ts';
import type { NodePresence } from '../../chunk/node-presence.ts';
import type { PutGuard } from '../../chunk/put-guard.ts';
import { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { NumberedFile } from '../../format/catalog.ts';
import { fileDir, storeDirs } from '../../format/file-names.ts';
import { frameTypes } from '../../format/log-frame.ts';
import { durabilityCodes } from '../../format/log-ops.ts';
import { forgetDirs, noteDurableDir } from '../../fs/dirs.ts';
import { GroupCommit } from '../../log/group-commit.ts';
import type { Durability } from '../../log/group-options.ts';
import type { LogTurn } from '../../log/log-history.ts';
import { LogWriter } from '../../log/log-writer.ts';
import { EntryWriter } from '../../secondary/entry-writer.ts';
import type { IndexStepLimits } from '../../secondary/index-steps.ts';
import type { CompactionLimits } from '../../tree/compaction-planner.ts';
import { ColdReads } from '../../txn/cold-reads.ts';
import { TxnWriter } from '../../txn/txn-writer.ts';
import { Checkpointer } from '../background/checkpointer.ts';
import type { Compactor } from '../background/compactor.ts';
import type { Expirer } from '../background/expirer.ts';
import { historyOf } from '../background/log-history-room.ts';
import type { Reaper, ReapLimits } from '../background/reaper.ts';
import type { BackgroundCleaning } from '../cleaning/background-cleaning.ts';
import type { Cleaner } from '../cleaning/cleaner.ts';
import { LeaseGate } from '../leases/lease-gate.ts';
import type { Purger } from '../purging/purger.ts';
import type { IndexWork } from '../queries/index-work.ts';
import type { QuotaCounts } from '../spaces/quota-counts.ts';
import type { WriteSide } from '../store.ts';
import type { Found } from './found.ts';
import { repeatedFrames } from './repeated-frames.ts';
import { openSegments, type Rescued, rescueSegments } from './rescue.ts';
import { type StartedBackground, startBackground } from './start-background.ts';
import { startCleaning } from './start-cleaning.ts';
import { highestFileNo, type ListedFile, sweep } from './sweep.ts';

export interface StartOptions {
  readonly locality: LocalityCache;
  readonly presence: NodePresence;
  readonly segmentBytes: number | undefined;
  readonly compaction: Partial<CompactionLimits> | 'off' | undefined;
  readonly reaping: Partial<ReapLimits> | undefined;
  readonly guard: PutGuard | undefined;
  readonly purging: 'off' | undefined;
  readonly indexing: Partial<IndexStepLimits> | undefined;
}

export interface Started {
  readonly write: WriteSide;
  readonly lanes: SegmentLanes;
  readonly chunks: ChunkStore;
  readonly catalogs: CatalogStore;
  /** Clean close, or after a failure only closing what is open. */
  readonly finish: () => Promise<void>;
}

/** Makes a recovered store ready to write; see open.ts for the order of steps. */
export async function startWriting(found: Found, options: StartOptions): Promise<Started> {
  const { env, loaded, lock, chain } = found;
  const catalogs = await CatalogStore.openForWrite(env.fs, loaded, {
    writerEpochFloor: Math.max(chain.writerEpoch, lock!.owner.writerEpoch),
    clock: env.clock,
    random: env.random,
  });
  try {
    await lock!.setEpoch(catalogs.writerEpoch);
    await prepareDirs(found);
    catalogs.raiseFileNo(highestFileNo(found.listed.files) + 1);
    return await start(found, options, catalogs);
  } catch (error) {
    await catalogs.close();
    throw error;
  }
}

/**
 * Makes directories that are missing, as copying tools may drop empty ones. Those of files that a catalog
 * names were durable before that catalog was written.
 */
async function prepareDirs({ env: { fs }, loaded, listed }: Found): Promise<void> {
  const { catalog, previous } = loaded;
  forgetDirs(fs);
  const missing = storeDirs.filter((dir) => !listed.root.has(dir));
  for (const dir of missing) await fs.mkdir(dir);
  // Whoever closed the store in order had made durable what it found.
  if (missing.length > 0 || !loaded.slot.cleanShutdown) await fs.syncDir('');
  for (const dir of storeDirs) noteDurableDir(fs, dir);
  for (const named of [catalog, previous?.catalog]) {
    for (const { no } of named?.tables ?? []) noteDurableDir(fs, fileDir('tab', no));
    for (const { no } of [...(named?.sealed ?? []), ...(named?.unsealed ?? [])]) {
      noteDurableDir(fs, fileDir('seg', no));
    }
  }
}

async function start(found: Found, options: StartOptions, catalogs: CatalogStore): Promise<Started> {
  const { env, loaded, forest, segments, health, replayed } = found;
  const { catalog, slot } = loaded;
  const takeFileNo = (): FileNo => catalogs.takeFileNo();
  const context = {
    fs: env.fs,
    dbUuid: slot.dbUuid,
    random: env.random,
    takeFileNo,
    segments,
    chunks: forest.chunks,
    lastSeq: Math.max(catalog.checkpointSeq, replayed.lastSeq),
    health,
  };
  const open = openSegments(catalog.unsealed, catalog.sealed, replayed.named);
  const rescued = await rescueSegments(open, context);
  const opening = await firstLog(found, catalogs, rescued.moved);
  try {
    return await takeOver(found, options, catalogs, rescued, opening);
  } catch (error) {
    // The caller hears of the first failure; the file is durable already, nothing is lost with its closing.
    await Promise.allSettled([opening.log.close()]);
    throw error;
  }
}

/**
 * Tables from what was replayed and the catalog that names everything: from its install on the store is ours.
 */
async function takeOver(
  found: Found,
  options: StartOptions,
  catalogs: CatalogStore,
  rescued: Rescued,
  opening: FirstLog,
): Promise<Started> {
  const { env, loaded, forest, segments } = found;
  const { catalog, slot } = loaded;
  const frozen = forest.freeze();
  const tables = await forest.flush(frozen, () => catalogs.takeFileNo(), env.random);
  const { unlinkable } = await catalogs.install({
    checkpointSeq: opening.lastSeq,
    walFirstNo: opening.log.no,
    timelineId: slot.timelineId,
    features: catalog.features,
    tables: [...catalog.tables, ...tables],
    sealed: [...catalog.sealed, ...rescued.sealed],
    unsealed: [],
    dropped: rescued.dropped,
  });
  await forest.install(frozen, tables);
  for (const { no } of rescued.dropped) await segments.remove(no);
  const started = compose(found, options, catalogs, opening);
  await started.cleanUp(unlinkable);
  // A torn slot is ordinary after a power cut; a catalog that had to be got around is not.
  const isGone = (file: ListedFile): boolean =>
    unlinkable.some(({ kind, no }) => kind === file.kind && no === file.no);
  const left = found.listed.files.filter((file) => !isGone(file));
  await sweep(env.fs, catalogs, left, {
    keep: loaded.catalog.no !== loaded.slot.catalogNo,
    hold: (await started.leases.lowest()) < Number.POSITIVE_INFINITY ? started.hold : undefined,
  });
  return started;
}

interface FirstLog {
  readonly log: LogWriter;
  /** How it goes on from the log that was found. */
  readonly turn: LogTurn;
  /** Last number before the OPEN frame of the new log. */
  readonly lastSeq: Seq;
  readonly openSeq: Seq;
  readonly timeMs: number;
}

/** The log file this writer begins with: it repeats what older files cannot prove to be on disk. */
async function firstLog(found: Found, catalogs: CatalogStore, moved: Rescued['moved']): Promise<FirstLog> {
  const { env, options, chain, replayed } = found;
  const resume = chain.resume(replayed.frames);
  const { prevFileNo, prevEndOffset, prevLastSeq, lastSeq, tailFrom, tailTo } = resume;
  const openSeq = lastSeq + 1;
  const timeMs = Math.max(env.clock.now(), chain.lastTimeMs);
  // The file is on disk when it is made, but an unproven frame may name chunks that are not: where the copy
  // of a segment differs, it keeps the old place.
  const isProven = tailTo === tailFrom || !chain.isUnproven(chain.frames.at(tailTo - 1));
  const log = await LogWriter.create(env.fs, {
    no: catalogs.takeFileNo(),
    dbUuid: catalogs.slot.dbUuid,
    salt: env.random(12),
    tail: repeatedFrames(chain.tail(tailFrom, tailTo), moved),
    open: {
      prevFileNo,
      prevEndOffset,
      prevLastSeq,
      firstSeq: prevLastSeq + 1,
      writerEpoch: catalogs.writerEpoch,
      timelineId: catalogs.slot.timelineId,
      durability: durabilityCode(options.durability),
    },
    openSeq,
    commitTimeMs: timeMs,
    durableSeq: isProven ? lastSeq : Math.max(chain.durableSeq, prevLastSeq),
  });
  const turn = { no: log.no, openSeq, prevFileNo, prevEndOffset, prevLastSeq };
  return { log, turn, lastSeq, openSeq, timeMs };
}

/** How files that nothing needs any more go. */
interface Releasing {
  readonly leases: LeaseGate;
  readonly cleanUp: (files: readonly NumberedFile[]) => Promise<void>;
  readonly hold: (file: NumberedFile) => void;
}

function compose(
  found: Found,
  options: StartOptions,
  catalogs: CatalogStore,
  opening: FirstLog,
): Started & Releasing {
  const { env, forest, health } = found;
  const { dbUuid, timelineId } = catalogs.slot;
  const leases = new LeaseGate(env.fs, env.clock, found.options.logger);
  const logHistory = historyOf(found.options.changesRetention, opening.turn, env.fs, catalogs);
  const failed = (error: unknown): void => log.fail(error);
  const log = new GroupCommit({
    log: opening.log,
    durability: found.options.durability,
    clock: env.clock,
    lastSeq: opening.openSeq,
    lastTimeMs: opening.timeMs,
    onFailed: (error) => found.options.logger.error?.('a write failed; the engine is read-only', { error }),
  });
  const lanes = lanesFor(found, options, catalogs, failed);
  const chunks = chunksFor(found, options, lanes);
  const entries = new EntryWriter(forest, found.indexes);
  const txn = new TxnWriter(forest, log, options.presence, entries, new ColdReads(env.clock));
  const nextLog = (openSeq: Seq, prevLastSeq: Seq, prevEnd: number): Promise<LogWriter> =>
    LogWriter.create(env.fs, {
      no: catalogs.takeFileNo(),
      dbUuid,
      salt: env.random(12),
      open: {
        prevFileNo: checkpointer.logFile.no,
        prevEndOffset: prevEnd,
        prevLastSeq,
        firstSeq: openSeq,
        writerEpoch: catalogs.writerEpoch,
        timelineId,
        durability: durabilityCode(found.options.durability),
      },
      openSeq,
      commitTimeMs: Math.max(env.clock.now(), log.lastTimeMs),
      durableSeq: prevLastSeq,
    });
  const checkpointer: Checkpointer = new Checkpointer({
    ...{ env, catalogs, forest, lanes, log, health, nextLog },
    logger: found.options.logger,
    leases,
    logHistory,
    logFile: opening.log,
    logBytes: found.options.checkpointLogBytes,
    onFailed: failed,
    onDone: () => {
      background.startIfDue();
      cleaning.work.startIfDue();
    },
  });
  const { presence } = options;
  const parts = { catalogs, checkpointer, log, txn, entries, chunks, presence, onFailed: failed };
  const background: StartedBackground = startBackground(found, options, parts);
  const { cleaner, cleaning, room } = startCleaning(found, options.segmentBytes ?? catalogs.slot.segTarget, {
    ...{ dbUuid, chunks, lanes, catalogs, checkpointer, log, txn },
    ...background,
  });
  found.lock!.onLost = failed;
  const closing = { log, lanes, checkpointer, ...background, cleaner, cleaning, catalogs };
  const finish = (): Promise<void> => close(closing);
  const write = { log, logHistory, txn, checkpointer, ...background, cleaner, cleaning, room };
  return { write, lanes, chunks, catalogs, finish, ...releasing(leases, checkpointer) };
}

function releasing(leases: LeaseGate, checkpointer: Checkpointer): Releasing {
  return {
    leases,
    cleanUp: (files) => checkpointer.cleanUp(files),
    hold: (file) => checkpointer.hold([file]),
  };
}

function chunksFor(
  { forest, segments, blockCache, health }: Found,
  { locality, guard }: StartOptions,
  lanes: SegmentLanes,
): ChunkStore {
  return new ChunkStore({
    ...{ chunks: forest.chunks, segments, lanes, locality, guard, cache: blockCache },
    onDamage: (error) => health.note(error),
  });
}

function lanesFor(
  { env, segments, options }: Found,
  { locality, segmentBytes }: StartOptions,
  catalogs: CatalogStore,
  onFailed: (error: unknown) => void,
): SegmentLanes {
  const { dbUuid, segTarget } = catalogs.slot;
  return new SegmentLanes(
    {
      fs: env.fs,
      dbUuid,
      random: env.random,
      takeFileNo: () => catalogs.takeFileNo(),
      segments,
      segmentBytes: segmentBytes ?? segTarget,
      syncAheadBytes: options.durability === 'full' ? segmentSyncBytes : undefined,
      onOpened: (segment) => locality.open(segment),
      onSealed: (segment) => locality.seal(segment),
      onFailed,
    },
    catalogs.catalog.sealed,
  );
}

interface Closing {
  readonly log: GroupCommit;
  readonly lanes: SegmentLanes;
  readonly checkpointer: Checkpointer;
  readonly compactor: Compactor;
  readonly reaper: Reaper;
  readonly cleaner: Cleaner;
  readonly cleaning: BackgroundCleaning;
  readonly purger: Purger;
  readonly expirer: Expirer;
  readonly indexWork: IndexWork;
  readonly quotas: QuotaCounts;
  readonly catalogs: CatalogStore;
}

/**
 * A clean close: merges ended, segments sealed, memtables in tables, the log ended with SEAL, and the same
 * set of files installed once more, so that the grace of one install keeps nothing back. After a failure
 * files are only closed; the next open recovers. Rejects with the failure.
 */
async function close(closing: Closing): Promise<void> {
  const {
    log,
    lanes,
    checkpointer,
    compactor,
    reaper,
    purger,
    expirer,
    indexWork,
    quotas,
    cleaner,
    cleaning,
    catalogs,
  } = closing;
  try {
    cleaner.stop();
    for (const { work } of [cleaning, quotas, reaper, purger, expirer, indexWork]) await work.stop();
    await compactor.stop();
    if (log.failure !== undefined) throw stopped(log.failure);
    await checkpointer.running;
    await log.drained();
    await lanes.sealAll();
    if (log.failure !== undefined) throw stopped(log.failure);
    await checkpointer.run();
    await cleaner.leaving.removeAll();
    await log.frame(frameTypes.seal, [], () => undefined);
    await log.syncNow();
    // Behind the checkpoint came only OPEN and SEAL: the final catalog covers them too.
    const { walFirstNo } = catalogs.catalog;
    await checkpointer.cleanUp(await checkpointer.install(log.lastSeq, walFirstNo, [], []));
    await checkpointer.removals.end();
    await catalogs.markClean();
    await checkpointer.logFile.close();
  } catch (error) {
    // What was under way when a write failed ends before the lock goes: it may still be making a file.
    await Promise.allSettled([checkpointer.running, checkpointer.removals.end(), log.settled()]);
    await lanes.abandon();
    await checkpointer.logFile.close();
    throw error;
  } finally {
    await catalogs.close();
  }
}

function stopped(cause: VarveError): VarveError {
  return new VarveError('VARVE_POISONED', 'closed after a failed write; the next open recovers', { cause });
}

function durabilityCode(durability: Durability): number {
  if (durability === 'full') return durabilityCodes.full;
  return durability === 'os' ? durabilityCodes.os : durabilityCodes.group;
}
