/** Puts the parts of cleaning together. */
import { GiB } from '../base/limits.ts';
import type { CleanLimits } from '../chunk/clean-planner.ts';
import { BackgroundCleaning } from './background-cleaning.ts';
import { Cleaner, type CleanerOptions } from './cleaner.ts';
import type { CleaningOptions } from './options.ts';

/** Input of one cycle, at most: bytes, and frames (44 B of memory each). */
const cycleBytesMax = GiB;
const cycleFramesMax = 512 * 1024;

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
    liveMax: most,
    liveSoft: most,
    smallCount: 2,
  };
}

/** The cleaner of a store and what starts it. `settings.enabled` false: only `compact` cleans. */
export function startCleaning(
  options: CleanerOptions,
  settings: Required<CleaningOptions>,
): { cleaner: Cleaner; cleaning: BackgroundCleaning } {
  const cleaner = new Cleaner(options);
  const { env, forest, chunks, lanes, log, health, logger, segmentBytes } = options;
  const limits = backgroundLimits(segmentBytes, settings.maxGarbage);
  const cleaning = new BackgroundCleaning({
    env,
    chunkTree: forest.chunks,
    chunks,
    lanes,
    cleaner,
    log,
    health,
    logger,
    limits,
    settings,
  });
  return { cleaner, cleaning };
}
