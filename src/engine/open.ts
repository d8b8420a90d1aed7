/**
 * Opening a store: lock, catalog, trees, log, and for writers everything that makes what was found durable
 * before the first call is served. The steps of a writer, in order:
 *
 *   take the lock -> read SUPER and the catalogs -> open tables -> replay the log -> take SUPER (new epoch)
 *   -> move frames of open segments into sealed ones -> new log file -> memtables to tables
 *   -> install the catalog that names all of it -> remove what nothing names
 *
 * A crash at any step leaves what the step before left. Readers stop after the replay and write nothing.
 *
 * Invariants (test/engine/open.test.ts, test/crash):
 * - a damaged store opens for reading: what is whole is served, the rest is listed in health();
 * - nothing recovered is served to a writer's callers before it is on disk under the new catalog.
 */
import type { Seq } from '../base/brands.ts';
import { isGoneFile, isPassing, isVarveError, VarveError } from '../base/errors.ts';
import { BlockCache } from '../cache/block-cache.ts';
import type { LoadedCatalogs } from '../catalog/catalog-load.ts';
import { CatalogStore } from '../catalog/catalog-store.ts';
import { ChunkStore } from '../chunk/chunk-store.ts';
import { LocalityCache } from '../chunk/locality-cache.ts';
import { NodePresence } from '../chunk/node-presence.ts';
import { initChecksum } from '../codec/checksum.ts';
import { superName } from '../format/file-names.ts';
import type { WriterLock } from '../fs/lock-port.ts';
import { ChunkerPool } from '../kernels/chunker/chunker.ts';
import { readLogChain } from '../log/log-chain.ts';
import { IndexBook } from '../secondary/index-book.ts';
import { SegmentSet } from '../segment/segment-set.ts';
import { Forest } from '../tree/forest.ts';
import { checkOpenSegments, checkSealedSegments } from './check-segments.ts';
import { Engine } from './engine.ts';
import type { Env } from './env.ts';
import { createIfNeeded, mayExist, refuseForeign } from './first-look.ts';
import type { Found } from './found.ts';
import { HealthBook } from './health-book.ts';
import { chunkerParamsOf, identityOf } from './identity.ts';
import { idleLanes } from './idle-lanes.ts';
import { throwIfAborted } from './key-args.ts';
import type { OpenBounds } from './open-bounds.ts';
import { type CheckedOptions, checkOptions, type EngineOptions } from './options.ts';
import { readingOnce } from './read-once.ts';
import { replay } from './recovery.ts';
import { openSegments } from './rescue.ts';
import { withReserve } from './reserve.ts';
import { restingFiles } from './resting.ts';
import { askedHistory } from './space-policy.ts';
import { Spaces } from './spaces.ts';
import { startWriting } from './start-writing.ts';
import { Store, type StoreParts } from './store.ts';
import { listStore } from './sweep.ts';
import { threadsFor } from './threads.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

/** Opens a reader repeats while a writer keeps installing new sets of files. */
const readerTriesMax = 10;

/**
 * Opens or creates the store that `env.fs` stands on. Errors: VARVE_NOT_FOUND (missing, and not to be
 * created), VARVE_CONFLICT (errorIfExists), VARVE_LOCKED, VARVE_CORRUPT (nothing can be served, or
 * onDegraded: 'throw'), VARVE_FORMAT_VERSION, VARVE_INVALID_ARGUMENT (options; another store's directory),
 * VARVE_IO, VARVE_NO_SPACE.
 */
export async function openWithEnv(
  env: Env,
  given: EngineOptions = {},
  bounds: OpenBounds = {},
): Promise<Engine> {
  const options = checkOptions(given);
  const own = options.clock === undefined ? env : { ...env, clock: options.clock };
  await initChecksum();
  throwIfAborted(options.signal);
  const exists = await mayExist(own);
  if (!exists) {
    await refuseForeign(own, options);
    // Chunk sizes that cannot be used are refused before the lock file is made.
    identityOf(options, own);
  }
  if (options.readOnly) return await openReader(own, options, bounds);
  const lock = await own.lock.acquire({
    waitMs: options.lockWaitMs,
    breakLock: options.breakLock,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  try {
    await createIfNeeded(own, options, exists);
    return await withReserve(own.fs, options.logger, async () =>
      openFound(own, options, bounds, lock, await loadCatalogs(own)),
    );
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * A reader takes no lock, so a writer may install another set of files, and remove old ones, while it opens.
 * What then looks like damage is not: the open is repeated as long as the superblock has changed under it.
 */
async function openReader(env: Env, options: CheckedOptions, bounds: OpenBounds): Promise<Engine> {
  for (let tries = 1; ; tries++) {
    const read = await loadCatalogs(env).catch((error: unknown) => {
      // The catalogs that the slot just read names may be gone by now.
      if (tries < readerTriesMax && isVarveError(error, 'VARVE_CORRUPT')) return undefined;
      throw error;
    });
    if (read === undefined) continue;
    const { generation } = read.loaded.slot;
    const changed = async (): Promise<boolean> =>
      tries < readerTriesMax && (await loadCatalogs(env)).loaded.slot.generation !== generation;
    try {
      const engine = await openFound(env, options, bounds, undefined, read);
      if (engine.health().ok || !(await changed())) return engine;
      await engine.close();
    } catch (error) {
      if (!(await changed())) throw error;
    }
  }
}

/** SUPER and the catalogs, and what the disk could not read of them. */
interface ReadCatalogs {
  readonly loaded: LoadedCatalogs;
  readonly unreadable: readonly VarveError[];
}

/** VARVE_CORRUPT when no slot or no catalog is whole; VARVE_IO when the disk could not read them. */
async function loadCatalogs(env: Env): Promise<ReadCatalogs> {
  const unreadable: VarveError[] = [];
  try {
    const loaded = await CatalogStore.load(zerosWhereUnreadable(env.fs, (error) => unreadable.push(error)));
    return { loaded, unreadable };
  } catch (error) {
    // Zeros in the place of what a later try may read are no damage.
    if (unreadable.length > 0 && isVarveError(error, 'VARVE_CORRUPT')) throw unreadable[0]!;
    throw error;
  }
}

async function openFound(
  env: Env,
  options: CheckedOptions,
  bounds: OpenBounds,
  lock: WriterLock | undefined,
  { loaded, unreadable }: ReadCatalogs,
): Promise<Engine> {
  const health = new HealthBook();
  for (const problem of [...unreadable, ...loaded.problems]) health.note(problem);
  const params = chunkerParamsOf(loaded.slot, options);
  const { dbUuid } = loaded.slot;
  const blockCache = new BlockCache(options.memory.blockCacheBytes);
  const { memtableBytes } = options.memory;
  const opened = await Forest.open(env.fs, loaded.catalog.tables, {
    dbUuid,
    cache: blockCache,
    memtableBytes,
  });
  const { forest } = opened;
  for (const problem of opened.problems) health.note(problem);
  const passing = opened.damage.find(isPassing);
  if (passing !== undefined) {
    await forest.close();
    throw passing;
  }
  const segments = new SegmentSet(env.fs, {
    dbUuid,
    onDamage: (error) => health.note(error),
  });
  try {
    const found = await recover(
      { env, options, loaded, health, blockCache, forest, segments, lock },
      // A slot that cannot be read cannot be written beside; catalogs are got around, as when damaged.
      [...opened.damage, ...unreadable.filter(({ file }) => file === superName)],
    );
    const pool = new ChunkerPool(params.params, { key: params.key });
    try {
      return await assemble(found, pool, bounds);
    } finally {
      await found.chain.close();
    }
  } catch (error) {
    await segments.close();
    await forest.close();
    throw error;
  }
}

/** Replays the log and decides whether the store is whole. */
async function recover(
  found: Omit<Found, 'chain' | 'replayed' | 'spaces' | 'indexes' | 'distrusted' | 'listed'>,
  damage: readonly VarveError[],
): Promise<Found> {
  const { env, loaded, segments } = found;
  const { catalog, slot } = loaded;
  for (const info of catalog.sealed) segments.add(info.no, info);
  for (const { no } of catalog.unsealed) segments.add(no);
  const unreadable: VarveError[] = [];
  const chain = await readLogChain(
    zerosWhereUnreadable(readingOnce(env.fs), (error) => unreadable.push(error)),
    {
      dbUuid: slot.dbUuid,
      walFirstNo: catalog.walFirstNo,
      checkpointSeq: catalog.checkpointSeq,
      ...(slot.cleanShutdown ? { closedEpoch: slot.writerEpoch } : {}),
    },
  );
  try {
    return await judge({ ...found, chain }, damage, unreadable);
  } catch (error) {
    await chain.close();
    throw error;
  }
}

async function judge(
  found: Omit<Found, 'replayed' | 'spaces' | 'indexes' | 'distrusted' | 'listed'>,
  damage: readonly VarveError[],
  logUnreadable: readonly VarveError[],
): Promise<Found> {
  const { env, loaded, chain, health, forest, segments, lock } = found;
  const { catalog, slot } = loaded;
  for (const problem of chain.problems) health.note(problem);
  // The log goes on from what the tables say is deleted.
  const unknownRanges = await forest.ranges.load(forest.system);
  const unknownHistory = await forest.history.load(forest.system);
  const replayed = await replay({
    fs: env.fs,
    dbUuid: slot.dbUuid,
    chain,
    forest,
    segments,
    sealed: catalog.sealed,
    health,
  });
  // Segments younger than the catalog: a store that is only read has them where they are.
  for (const no of replayed.named.keys()) if (!segments.has(no)) segments.add(no);
  let degraded = replayed.damaged;
  for (const error of [
    ...damage,
    ...logUnreadable,
    ...(unknownRanges ? [unknownRanges] : []),
    ...(unknownHistory ? [unknownHistory] : []),
  ]) {
    degraded = true;
    health.note(error);
  }
  // What cannot be read may pass for a torn tail: nobody knows which commits it held.
  if (logUnreadable.length > 0) health.noteMissing(chain.lastSeq + 1, undefined);
  for (const { error, missingFrom, missingTo } of chain.damage) {
    degraded = true;
    health.note(error);
    health.noteMissing(missingFrom, missingTo);
  }
  const spaces = new Spaces();
  const indexes = new IndexBook();
  if (!(await loadSpaces(spaces, indexes, found))) degraded = true;
  const unlistable = zerosWhereUnreadable(env.fs, (error) => {
    degraded = true;
    health.note(error);
  });
  const listed = lock === undefined ? { root: new Set<string>(), files: [] } : await listStore(unlistable);
  const all: Found = { ...found, replayed, spaces, indexes, distrusted: new Set(), listed };
  const open = openSegments(catalog.unsealed, catalog.sealed, replayed.named);
  if (!(await checkOpenSegments(all, open))) degraded = true;
  if (!(await checkSealedSegments(all))) degraded = true;
  if (degraded) refuseWrites(all);
  return all;
}

/** False when a name may be missing: a new space could then get a number that is taken. */
async function loadSpaces(
  spaces: Spaces,
  indexes: IndexBook,
  { forest, health }: Pick<Found, 'forest' | 'health'>,
): Promise<boolean> {
  try {
    await spaces.load(forest.system);
    await indexes.load(forest.system);
    return true;
  } catch (error) {
    if (!(error instanceof VarveError) || isPassing(error)) throw error;
    health.note(error);
    return false;
  }
}

function refuseWrites({ options, health }: Found): void {
  const [first] = health.report(true).damage;
  const refusal = new VarveError(
    'VARVE_CORRUPT',
    `the store is damaged: ${first?.message ?? 'see health()'}`,
    {
      ...(first === undefined ? {} : { file: first.file }),
      ...(first?.offset === undefined ? {} : { offset: first.offset }),
    },
  );
  if (options.onDegraded === 'throw') throw refusal;
  health.refuseWrites('damage was found when the store was opened', refusal);
}

/** Puts the parts together; a writer is made ready to write. */
async function assemble(found: Found, chunkers: ChunkerPool, bounds: OpenBounds): Promise<Engine> {
  const { env, options, loaded, health, forest, segments, spaces, indexes, lock } = found;
  const locality = new LocalityCache(options.memory.trailerCacheBytes);
  const presence = new NodePresence();
  const writes = lock !== undefined && health.refusal === undefined;
  const started = writes
    ? await startWriting(found, {
        locality,
        presence,
        segmentBytes: bounds.segmentBytes,
        compaction: bounds.compaction,
        reaping: bounds.reaping,
        guard: bounds.guard,
        purging: bounds.purging,
        indexing: bounds.indexing,
      })
    : undefined;
  const lanes = started?.lanes ?? idleLanes(found);
  const chunks =
    started?.chunks ??
    new ChunkStore({
      chunks: forest.chunks,
      segments,
      lanes,
      locality,
      cache: found.blockCache,
      onDamage: notedIn(health, options),
    });
  for (const segment of found.distrusted) chunks.distrust(segment);
  const threads = threadsFor(env, options, chunkers.params, bounds.threads);
  const openedSeq: Seq = Math.max(loaded.catalog.checkpointSeq, found.replayed.lastSeq);
  const parts: StoreParts = {
    env,
    options,
    identity: loaded.slot,
    forest,
    segments,
    lanes,
    chunks,
    locality,
    presence,
    chunkers,
    threads,
    blockCache: found.blockCache,
    health,
    spaces,
    indexes,
    write: started?.write,
    resting: started === undefined ? await restingFiles(found) : undefined,
    catalog: () => started?.catalogs.catalog ?? loaded.catalog,
    openedSeq,
    openedMs: found.chain.lastTimeMs,
    stageBirthsMax: bounds.stageBirthsMax,
    flushMerges: bounds.flushMerges ?? false,
    weakenedValidation: bounds.weakenedValidation,
    shutDown: async () => {
      try {
        await started?.finish();
      } finally {
        await closeAll(
          async () => threads?.jobs.close(),
          () => segments.close(),
          () => forest.close(),
          async () => lock?.release(),
        );
      }
    },
  };
  return await ready(new Store(parts), bounds);
}

/** Work that is due begins, and what the options ask for holds. */
async function ready(store: Store, bounds: OpenBounds): Promise<Engine> {
  store.parts.write?.startIfDue();
  bounds.onOpen?.(store);
  await askedHistory(store);
  return new Engine(store);
}

/** Takes every step, also after one that fails; rejects with the first failure. */
async function closeAll(...steps: readonly (() => Promise<void>)[]): Promise<void> {
  let first: { error: unknown } | undefined;
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      first ??= { error };
    }
  }
  if (first !== undefined) throw first.error;
}

/** A reader is told of a file that is gone as VARVE_SNAPSHOT_EXPIRED: that is no damage. */
function notedIn(health: HealthBook, { readOnly }: CheckedOptions): (error: unknown) => void {
  return (error) => {
    if (!readOnly || !isGoneFile(error)) health.note(error);
  };
}
