/** The writing half of an open: everything found is made durable under a new epoch, then writes may begin. */
import type { FileNo, Seq } from '../../base/brands.ts';
import { segmentSyncBytes } from '../../base/limits.ts';
import { unlinkableOf } from '../../catalog/catalog-cleanup.ts';
import { CatalogStore } from '../../catalog/catalog-store.ts';
import { ChunkStore } from '../../chunk/chunk-store.ts';
import type { LocalityCache } from '../../chunk/locality-cache.ts';
import type { NodePresence } from '../../chunk/node-presence.ts';
import type { PutGuard } from '../../chunk/put-guard.ts';
import { type BulkWrites, SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { NumberedFile } from '../../format/catalog.ts';
import { fileDir, storeDirs } from '../../format/file-names.ts';
import { forgetDirs, noteDurableDir } from '../../fs/dirs.ts';
import { GroupCommit } from '../../log/group-commit.ts';
import type { LogEnd } from '../../log/log-history.ts';
import type { LogWriter } from '../../log/log-writer.ts';
import { EntryWriter } from '../../secondary/entry-writer.ts';
import type { IndexStepLimits } from '../../secondary/index-steps.ts';
import type { CompactionLimits } from '../../tree/compaction-planner.ts';
import { ColdReads } from '../../txn/cold-reads.ts';
import { TxnWriter } from '../../txn/txn-writer.ts';
import { Checkpointer } from '../background/checkpointer.ts';
import { historyOf } from '../background/log-history-room.ts';
import type { ReapLimits } from '../background/reaper.ts';
import { LeaseGate } from '../leases/lease-gate.ts';
import type { WriteSide } from '../store.ts';
import { isAtRest } from './at-rest.ts';
import { close } from './closing.ts';
import {
  delayedLog,
  type FirstLog,
  firstLog,
  followingLog,
  type LogBeginning,
  restingLog,
} from './first-log.ts';
import type { Found } from './found.ts';
import { openSegments, type Rescued, rescueSegments } from './rescue.ts';
import { type StartedBackground, startBackground } from './start-background.ts';
import { startCleaning } from './start-cleaning.ts';
import { highestFileNo, type ListedFile, sweep } from './sweep.ts';

export interface StartOptions {
  readonly locality: LocalityCache;
  readonly presence: NodePresence;
  readonly segmentBytes: number | undefined;
  readonly bulk: BulkWrites | undefined;
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
  if (isAtRest(found)) return await goOn(found, options, catalogs);
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
    await Promise.allSettled([opening.made.log.close()]);
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
    checkpointSeq: opening.checkpointSeq,
    walFirstNo: opening.made.log.no,
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
  const keep = loaded.catalog.no !== loaded.slot.catalogNo;
  await sweep(env.fs, catalogs, left, { keep, hold: await holdFor(started) });
  return started;
}

/** Over a store at rest nothing is to be named: the slot that was written has made it ours. */
async function goOn(found: Found, options: StartOptions, catalogs: CatalogStore): Promise<Started> {
  const { env, listed } = found;
  const started = compose(found, options, catalogs, restingLog(found));
  // What stayed for readers when the store was closed, or because the caller asked for more history then.
  const there = listed.files.filter(({ isQuarantined }) => !isQuarantined);
  await started.cleanUp(unlinkableOf(there, catalogs.catalog, catalogs.previous!));
  await sweep(env.fs, catalogs, listed.files, { keep: false, hold: await holdFor(started) });
  return started;
}

/** Where readers in other processes may need what is swept. */
async function holdFor({ leases, hold }: Releasing): Promise<Releasing['hold'] | undefined> {
  return (await leases.lowest()) < Number.POSITIVE_INFINITY ? hold : undefined;
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
  opening: LogBeginning,
): Started & Releasing {
  const { env, forest, health } = found;
  const { dbUuid, generation } = catalogs.slot;
  const { made, before } = opening;
  const leases = new LeaseGate(env.fs, env.clock, found.options.logger);
  const opened = { catalog: catalogs.catalog, generation };
  const logHistory = historyOf(found.options.changesRetention, made?.turn ?? before, env.fs, catalogs);
  const failed = (error: unknown): void => log.fail(error);
  const begin = (openSeq: Seq): Promise<LogWriter> =>
    checkpointer.begin(openSeq, before, () => delayedLog(found, catalogs, opening, openSeq));
  const log = new GroupCommit({
    log: made?.log ?? begin,
    durability: found.options.durability,
    clock: env.clock,
    lastSeq: opening.lastSeq,
    lastTimeMs: opening.timeMs,
    onFailed: (error) => found.options.logger.error?.('a write failed; the engine is read-only', { error }),
  });
  const lanes = lanesFor(found, options, catalogs, failed);
  const chunks = chunksFor(found, options, lanes);
  const entries = new EntryWriter(forest, found.indexes);
  const txn = new TxnWriter(forest, log, options.presence, entries, new ColdReads(env.clock));
  const nextLog = (openSeq: Seq, end: LogEnd): Promise<LogWriter> =>
    followingLog(found, catalogs, end, { openSeq, timeMs: log.lastTimeMs });
  const checkpointer: Checkpointer = new Checkpointer({
    ...{ env, catalogs, forest, lanes, log, health, nextLog },
    logger: found.options.logger,
    leases,
    logHistory,
    logFile: made?.log,
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
  const write = { log, logHistory, txn, checkpointer, ...background, cleaner, cleaning, room };
  const finish = (): Promise<void> => close({ ...write, lanes, catalogs, opened });
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
  { locality, segmentBytes, bulk }: StartOptions,
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
      bulk,
      syncAheadBytes: options.durability === 'full' ? segmentSyncBytes : undefined,
      onOpened: (segment) => locality.open(segment),
      onSealed: (segment) => locality.seal(segment),
      onFailed,
    },
    catalogs.catalog.sealed,
  );
}
