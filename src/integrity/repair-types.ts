/** What a repair is asked to do and what it says. */
import type { Clock } from '../base/clock.ts';
import type { StoreIdentity } from '../catalog/catalog-create.ts';
import type { FsPort } from '../fs/port.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { Finding } from './findings.ts';

/** How far a repair is. */
export interface RepairProgress {
  readonly phase: 'check' | 'log' | 'segments' | 'chunks' | 'tables' | 'install';
  readonly done: number;
  readonly total?: number;
  readonly unit: 'bytes' | 'files' | 'rows';
  readonly bytesPerSecond: number;
}

/** What is gone, as far as it can be known. */
export interface RepairLoss {
  /**
   * Keys whose newest version needs a chunk that is nowhere: reading one is VARVE_CORRUPT until it is put
   * again or removed. Written as in a finding; at most 10,000.
   */
  readonly keys: readonly string[];
  readonly moreKeys: number;
  /** Older versions of whatever key that need such a chunk. */
  readonly versions: number;
  /** Chunks that are nowhere. */
  readonly chunks: number;
  /**
   * Keys between these, both included, may have lost their newest versions or their removal: an older version
   * is served where one is left.
   */
  readonly keyRanges: readonly { readonly from: string; readonly to: string }[];
  /** Commits that are lost: any key may have lost a version or a removal made by them. */
  readonly sequences: readonly { readonly from: number; readonly to?: number }[];
  /** What else is not known any more, in words. */
  readonly other: readonly string[];
}

/** What a repair did, or with dryRun would do. */
export interface RepairReport {
  /** Nothing is lost. */
  readonly ok: boolean;
  readonly dryRun: boolean;
  /** In words, in the order they were done; none where nothing was damaged. */
  readonly actions: readonly string[];
  readonly lost: RepairLoss;
  /** Files that were moved to `quarantine/`, by their old names. */
  readonly quarantined: readonly string[];
  /** What was found damaged before. */
  readonly damage: readonly Finding[];
  /** Keys that have a value, and the bytes of their newest versions. */
  readonly kept: { readonly keys: number; readonly bytes: number };
  readonly ms: number;
}

/** What a repair works with. The caller holds the writer lock. */
export interface RepairWork {
  readonly fs: FsPort;
  readonly clock: Clock;
  /** `random(n)` gives n random bytes. */
  readonly random: (n: number) => Uint8Array;
  /** Threads for SHA-256; undefined: the calling thread. */
  readonly threads: HashThreads | undefined;
  readonly dryRun: boolean;
  readonly onProgress: ((progress: RepairProgress) => void) | undefined;
  readonly checkAborted: () => void;
  /** Identity to give a store whose superblock is lost: all but its id, which its files tell. */
  readonly defaults: Omit<StoreIdentity, 'dbUuid'>;
  /** Highest writer epoch known from the lock. */
  readonly writerEpoch: number;
  /** Bytes of a chunk from elsewhere; what does not hash to the id is ignored. */
  readonly healFrom: ((id: Uint8Array) => Promise<Uint8Array | undefined>) | undefined;
}
