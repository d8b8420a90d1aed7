/** Puts the parts of cleaning together. */
import { GiB, MiB } from '../../base/limits.ts';
import type { CleanLimits } from '../../chunk/clean-planner.ts';
import { BackgroundCleaning } from '../cleaning/background-cleaning.ts';
import { Cleaner, type CleanerOptions } from '../cleaning/cleaner.ts';
import { DiskRoom } from '../cleaning/disk-room.ts';
import type { Found } from './found.ts';

/** Input of one cycle, at most: bytes, and frames (44 B of memory for each that is live). */
const cycleBytesMax = GiB;
/** Where the caller has asked: every cycle costs a scan of the chunk tree and a checkpoint. */
const fullCycleBytesMax = 2 * GiB;
const cycleFramesMax = 128 * 1024;
/** What is kept free for the size of the store, at most, where the caller has not said. */
const floorBytesMax = 64 * MiB;

/** How segments are chosen in the background. */
export function backgroundLimits(segmentBytes: number, maxGarbage: number): CleanLimits {
  return {
    inputBytes: Math.max(cycleBytesMax, segmentBytes),
    inputFrames: cycleFramesMax,
    maxGarbage,
    liveMax: 0.85,
    liveSoft: 0.5,
    smallBytes: Math.floor(segmentBytes / 8),
    smallCount: 8,
    segmentBytes,
  };
}

/** How they are chosen where the caller has asked: all that are worth it. */
export function fullLimits(segmentBytes: number): CleanLimits {
  const most = 0.95;
  return {
    ...backgroundLimits(segmentBytes, 0),
    inputBytes: Math.max(fullCycleBytesMax, segmentBytes),
    liveMax: most,
    liveSoft: most,
    smallCount: 2,
  };
}

/** The cleaner of a store and what starts it. Where cleaning is not enabled only `compact` cleans. */
export function startCleaning(
  { env, forest, segments, health, options }: Found,
  segmentBytes: number,
  parts: Omit<
    CleanerOptions,
    'env' | 'forest' | 'segments' | 'health' | 'logger' | 'segmentBytes' | 'waitsForDisk'
  >,
): { cleaner: Cleaner; cleaning: BackgroundCleaning; room: DiskRoom } {
  const { logger } = options;
  const waitsForDisk = options.durability === 'full';
  const cleaner = new Cleaner({
    ...parts,
    ...{ env, forest, segments, health, logger, segmentBytes, waitsForDisk },
  });
  parts.checkpointer.othersCommit = () => waitsForDisk && cleaner.courtesy.isWanted;
  const cleaning = new BackgroundCleaning({
    ...{ env, health, logger, cleaner },
    chunkTree: forest.chunks,
    chunks: parts.chunks,
    lanes: parts.lanes,
    log: parts.log,
    limits: backgroundLimits(segmentBytes, options.cleaning.maxGarbage),
    settings: options.cleaning,
  });
  const { log, lanes, chunks, catalogs } = parts;
  const room = new DiskRoom({
    fs: env.fs,
    clock: env.clock,
    logger,
    written: () => log.counters.logBytes + chunks.counters.storedBytes,
    floor: () => {
      if (options.freeSpaceFloorBytes !== undefined) return options.freeSpaceFloorBytes;
      const files = [...catalogs.catalog.tables, ...lanes.sealed()];
      const bytes = files.reduce((sum, { size }) => sum + size, 0);
      // What a checkpoint writes, and what an open after a crash copies.
      const unsettled = forest.bytesUsed + lanes.openBytes().bytes;
      return Math.round(Math.min(floorBytesMax, bytes / 64) + unsettled);
    },
  });
  return { cleaner, cleaning, room };
}
