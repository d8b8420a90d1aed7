/** What a check is given and what it says. */
import type { Seq } from '../base/brands.ts';
import type { Clock } from '../base/clock.ts';
import type { VarveError } from '../base/errors.ts';
import type { FsPort } from '../fs/port.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { Attribution } from './affected-keys.ts';
import type { Finding } from './findings.ts';
import type { Unit } from './live-files.ts';
import type { VerifyCursor, VerifyLevel, VerifyPhase } from './verify-cursor.ts';

/** How far a check is. */
export interface VerifyProgress {
  readonly phase: VerifyPhase;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes';
  readonly bytesPerSecond: number;
}

/** What a check found. */
export interface VerifyReport {
  /** Nothing was found wrong in what was checked. */
  readonly ok: boolean;
  readonly level: VerifyLevel;
  /** False: time ran out; `cursor` says where to go on. */
  readonly done: boolean;
  readonly cursor?: string;
  readonly checked: {
    readonly files: number;
    readonly bytes: number;
    /** Chunk frames read. */
    readonly chunks: number;
    /** Rows and index entries of tables, frames of the log. */
    readonly rows: number;
    /** Files that were left out, as they had been checked since. */
    readonly skipped: number;
  };
  /** At most 1,000; `moreDamage` counts the rest. */
  readonly damage: readonly Finding[];
  readonly moreDamage?: number;
  /** What damage kept from being checked, in words. */
  readonly unchecked: readonly string[];
  readonly ms: number;
  readonly bytesPerSecond: number;
}

/** What a check works with. */
export interface VerifyWork {
  readonly fs: FsPort;
  readonly clock: Clock;
  readonly level: VerifyLevel;
  /**
   * Threads that compute SHA-256 for level 'full'; the calling thread does where they are undefined, or with
   * a `share`.
   */
  readonly threads?: HashThreads | undefined;
  readonly start: VerifyCursor | undefined;
  /** Time after which the check ends between two steps; at least one step is done. */
  readonly maxMs: number | undefined;
  readonly onProgress: ((progress: VerifyProgress) => void) | undefined;
  /** Throws when the check is to end. */
  readonly checkAborted: () => void;
  /** Commits above are under way. */
  readonly seqMax: () => Seq;
  /** The store as it is now, for finding keys: `rows` of the view it holds. */
  readonly now: Pick<Attribution, 'chunks' | 'segments' | 'rows' | 'spaceName' | 'snapshots'>;
  /** What need not be checked; undefined: nothing. Roots are always asked about, and may be refused. */
  readonly skips?: (unit: Unit) => boolean;
  /** Told of each unit in which nothing was found. */
  readonly onSound?: (unit: Unit) => void;
  /** Told, at the end of a check that was finished, of everything there is. */
  readonly onEnd?: (units: readonly Unit[]) => void;
  /** Share of the time that the check may work, above 0 up to 1; undefined = 1. */
  readonly share?: number;
  /** Nobody waits for it: the process may end while it rests. */
  readonly isBackground?: boolean | undefined;
  /** Ends a rest between two steps. */
  readonly signal?: AbortSignal | undefined;
  /** Told of each finding. */
  readonly onDamage: (error: VarveError) => void;
}
