/** A run of cleaning: what it may do, and what it did. */
import type { FileNo } from '../../base/brands.ts';
import type { VarveError } from '../../base/errors.ts';
import type { CleanLimits } from '../../chunk/clean-planner.ts';

/** One run of cleaning. */
export interface CleanTask {
  readonly limits: CleanLimits;
  /** Open segments with a larger share of garbage are sealed, so that they can be cleaned. */
  readonly rollAbove: number;
  /** How long a condemned segment may wait for puts that claim its frames, ms. */
  readonly drainMs: number;
  /** Bytes read and written a second; undefined = as fast as it goes. */
  readonly bytesPerSecond: number | undefined;
  /** Share of the time it may work, above 0 up to 1. */
  readonly share: number;
  /** A caller waits for it: the process stays alive while it rests. */
  readonly isAwaited: boolean;
  /** Bytes copied after which no further portion of a cycle is begun. */
  readonly copyBytesMax: number;
  /** The run is to end early. */
  readonly cancelled: () => boolean;
  /** Called after each portion of a cycle, and after the cycle, with the totals of the run. */
  readonly onStep?: (done: CleanOutcome) => void;
}

/** What a run did; grows while it runs. */
export interface CleanOutcome {
  cycles: number;
  copiedBytes: number;
  copiedFrames: number;
  /** Segments emptied, and the bytes of their files. */
  emptied: number;
  emptiedBytes: number;
  damage: VarveError[];
  /** Segments left alone because puts under way hold them. */
  busy: FileNo[];
}

export function newOutcome(): CleanOutcome {
  return {
    cycles: 0,
    copiedBytes: 0,
    copiedFrames: 0,
    emptied: 0,
    emptiedBytes: 0,
    damage: [],
    busy: [],
  };
}
