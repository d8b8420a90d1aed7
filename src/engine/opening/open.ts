/**
 * Opening a store: lock, catalog, trees, log, and for writers everything that makes what was found durable
 * before the first call is served. The steps of a writer, in order:
 *
 *   take the lock -> read SUPER and the catalogs -> open tables -> replay the log -> take SUPER (new epoch)
 *   -> move frames of open segments into sealed ones -> new log file -> memtables to tables
 *   -> install the catalog that names all of it -> remove what nothing names
 *
 * A crash at any step leaves what the step before left. Readers stop after the replay and write nothing. Over
 * a store at rest (at-rest.ts) nothing between SUPER and the removing is to be done.
 *
 * Invariants (test/engine/open.test.ts, test/crash):
 * - a damaged store opens for reading: what is whole is served, the rest is listed in health();
 * - nothing recovered is served to a writer's callers before it is on disk under the new catalog.
 */
import { isPassing, isVarveError, VarveError } from '../../base/errors.ts';
import { BlockCache } from '../../cache/block-cache.ts';
import type { LoadedCatalogs } from '../../catalog/catalog-load.ts';
import { CatalogStore } from '../../catalog/catalog-store.ts';
import { initChecksum } from '../../codec/checksum.ts';
import { superName } from '../../format/file-names.ts';
import type { WriterLock } from '../../fs/lock-port.ts';
import { ChunkerPool } from '../../kernels/chunker/chunker.ts';
import { SegmentSet } from '../../segment/segment-set.ts';
import { Forest } from '../../tree/forest.ts';
import { withReserve } from '../cleaning/reserve.ts';
import type { Engine } from '../engine.ts';
import type { Env } from '../env.ts';
import { HealthBook } from '../health/health-book.ts';
import { throwIfAborted } from '../key-args.ts';
import type { OpenBounds } from '../open-bounds.ts';
import { type CheckedOptions, checkOptions, type EngineOptions } from '../options.ts';
import { assemble } from './assembling.ts';
import { findState } from './finding.ts';
import { createIfNeeded, refuseForeign, storeExists } from './first-look.ts';
import { chunkerParamsOf, identityOf } from './identity.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

/** Opens of a reader, each because a writer has installed another set of files during the one before. */
const readerTriesMax = 1000;
/** Tries, one behind the other, to find a pair of catalogs that is whole. */
const catalogTriesMax = 10;

/**
 * Opens or creates the store that `env.fs` stands on. Errors: VARVE_NOT_FOUND (missing, and not to be
 * created), VARVE_CONFLICT (errorIfExists), VARVE_LOCKED, VARVE_CORRUPT (nothing can be served, or
 * onDegraded: 'throw'), VARVE_FORMAT_VERSION, VARVE_INVALID_ARGUMENT (options; another store's directory),
 * VARVE_IO, VARVE_NO_SPACE; of a reader VARVE_SNAPSHOT_EXPIRED (writers were faster in every try).
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
  const exists = await storeExists(own);
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
  let missed = 0;
  for (let tries = 1; tries <= readerTriesMax; tries++) {
    throwIfAborted(options.signal);
    const read = await loadCatalogs(env).catch((error: unknown) => {
      // The catalogs that the slot just read names may be gone by now.
      if (++missed < catalogTriesMax && isVarveError(error, 'VARVE_CORRUPT')) return undefined;
      throw error;
    });
    if (read === undefined) continue;
    missed = 0;
    const { generation } = read.loaded.slot;
    try {
      const engine = await openFound(env, options, bounds, undefined, read);
      // Also where all looks well: a log that was listed later need not go on from an older catalog's tables.
      if (!(await hasChanged(env, generation))) return engine;
      await engine.close();
    } catch (error) {
      if (!(await hasChanged(env, generation))) throw error;
    }
  }
  throw new VarveError(
    'VARVE_SNAPSHOT_EXPIRED',
    `a writer has installed other files during each of ${readerTriesMax} opens; a follower holds them`,
    { retryable: true },
  );
}

/** False also where it cannot be told: then what was found stands. */
async function hasChanged(env: Env, generation: number): Promise<boolean> {
  try {
    return (await loadCatalogs(env)).loaded.slot.generation !== generation;
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    // The catalogs that the slot just read names may be gone by now.
    return isVarveError(error, 'VARVE_CORRUPT');
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
  const { memory } = options;
  const blockCache = new BlockCache(memory.blockCacheBytes, memory.blockBorrowing);
  const opened = await Forest.open(env.fs, loaded.catalog.tables, {
    dbUuid,
    cache: blockCache,
    memtableBytes: memory.memtableBytes,
    foundRowBytes: memory.foundRowBytes,
    tableFilterBytes: memory.tableFilterBytes,
    tableIndexBytes: memory.tableIndexBytes,
    scanAheadBytes: memory.scanAheadBytes,
    onDamage: (error) => health.note(error),
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
    const found = await findState(
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
