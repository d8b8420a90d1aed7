/** From what was found to an open store. */
import type { Seq } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { isGoneFile } from '../../base/errors.ts';
import { ChunkStore } from '../../chunk/chunk-store.ts';
import { LocalityCache } from '../../chunk/locality-cache.ts';
import { NodePresence } from '../../chunk/node-presence.ts';
import { checksName } from '../../format/file-names.ts';
import { CheckBook } from '../../integrity/check-book.ts';
import type { ChunkerPool } from '../../kernels/chunker/chunker.ts';
import { loadBackups } from '../backups/backups.ts';
import { companionsOf } from '../companions.ts';
import { Engine } from '../engine.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { OpenBounds } from '../open-bounds.ts';
import type { CheckedOptions } from '../options.ts';
import { askedHistory } from '../spaces/space-policy.ts';
import { Store, type StoreParts } from '../store.ts';
import { threadsFor } from '../threads.ts';
import type { Found } from './found.ts';
import { idleLanes } from './idle-lanes.ts';
import { restingFiles } from './resting.ts';
import { startWriting } from './start-writing.ts';

/** Puts the parts together; a writer is made ready to write. */
export async function assemble(found: Found, chunkers: ChunkerPool, bounds: OpenBounds): Promise<Engine> {
  const { env, options, loaded, health, forest, segments, spaces, indexes, lock } = found;
  const locality = new LocalityCache(options.memory.trailerCacheBytes);
  const presence = new NodePresence();
  const writes = lock !== undefined && health.refusal === undefined;
  const { segmentBytes, bulk, compaction, reaping, guard, purging, indexing } = bounds;
  const asked = { locality, presence, segmentBytes, bulk, compaction, reaping, guard, purging, indexing };
  const started = writes ? await startWriting(found, asked) : undefined;
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
    openedTorn: found.chain.torn !== undefined,
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
  return await ready(found, new Store(parts), bounds);
}

/** Health knows of the last scrub. */
async function loadChecks({ env, identity, health, options }: StoreParts): Promise<void> {
  const book = new CheckBook(toHex(identity.dbUuid));
  try {
    await book.load(env.fs);
  } catch (error) {
    options.logger.warn?.('the record of checks cannot be read', { error });
  }
  health.lastCheck = book.last;
}

/** Work that is due begins, and what the options ask for holds. */
async function ready({ listed }: Found, store: Store, bounds: OpenBounds): Promise<Engine> {
  // Readers, who list nothing, have no use for when files were checked.
  if (listed.root.has(checksName)) await loadChecks(store.parts);
  store.companions = companionsOf(store);
  store.parts.write?.startIfDue();
  bounds.onOpen?.(store);
  await askedHistory(store);
  await loadBackups(store);
  store.companions.start();
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
