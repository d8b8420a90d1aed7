/**
 * What one simulation does, as data: options, the calls of each client, faults and crashes. Everything a run
 * decides comes from its plan, so that a plan can be repeated, made smaller and kept as a fixture.
 */
import type { SpaceOptions } from '../../src/engine/spaces/space-policy.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';

import type { VerifyLevel } from '../../src/integrity/verify-cursor.ts';

export type SimDurability = 'full' | 'os' | { groupMs: number };

/** Bytes made from a seed; `edit` replaces some of them, so that most chunks are shared with the unedited. */
export interface ValueSpec {
  readonly seed: number;
  readonly length: number;
  /** ASCII, given to put as a string. */
  readonly text?: boolean;
  readonly edit?: { readonly at: number; readonly cut: number; readonly add: number };
}

/** Bounds of a scan, keys as hex. */
export interface ScanSpec {
  readonly prefix?: string;
  readonly gt?: string;
  readonly gte?: string;
  readonly lt?: string;
  readonly lte?: string;
  readonly after?: string;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly delimiter?: string;
  readonly values?: boolean;
  readonly stats?: boolean;
}

/** Which keys a range delete removes, as hex. */
export type BoundsSpec = Pick<ScanSpec, 'prefix' | 'gt' | 'gte' | 'lt' | 'lte'>;

/** What `ifSeq` asks for: the number the key has, none, or one it does not have. */
export type SimCondition = 'current' | 'absent' | 'stale';

/** One operation of a batch: null removes the key. */
export interface SimChange {
  readonly key: string;
  readonly value: ValueSpec | null;
}

/** One call of a client. Keys are hex; `space` '' is the default one. */
export type SimOp =
  | { kind: 'put'; space: string; key: string; value: ValueSpec; sha256?: boolean; big?: number }
  /** To keys of its own: the value expires. */
  | { kind: 'putBrief'; space: string; key: string; value: ValueSpec; ttlMs: number }
  | { kind: 'putAborts'; space: string; key: string; value: ValueSpec }
  | { kind: 'putIf'; space: string; key: string; value: ValueSpec; condition: SimCondition }
  | {
      kind: 'stream' | 'streamThrows' | 'streamAborts';
      space: string;
      key: string;
      value: ValueSpec;
      pieces: number;
    }
  | { kind: 'delete' | 'deleteAborts'; space: string; key: string }
  | { kind: 'deleteIf'; space: string; key: string; condition: SimCondition }
  | { kind: 'batch'; space: string; changes: readonly SimChange[] }
  | { kind: 'batchIf'; space: string; changes: readonly SimChange[]; condition: SimCondition }
  | { kind: 'deleteRange'; space: string; bounds: BoundsSpec; aborts?: boolean }
  | { kind: 'clear'; space: string }
  | { kind: 'drop'; space: string }
  | { kind: 'update'; space: string; key: string; value: ValueSpec | null; waits: boolean }
  | { kind: 'increment'; key: string }
  | {
      kind: 'transaction';
      space: string;
      reads: readonly string[];
      /** Also goes through the whole space. */
      scans: boolean;
      changes: readonly SimChange[];
      isolation: 'snapshot' | 'serializable';
      retries: number;
    }
  | { kind: 'get' | 'getSync' | 'getAborts' | 'has' | 'stat'; space: string; key: string }
  | { kind: 'getMany'; space: string; keys: readonly string[] }
  | { kind: 'scan' | 'scanStops' | 'scanAborts'; space: string; scan: ScanSpec; entries: number }
  | { kind: 'read' | 'readCancels'; space: string; key: string; start: number; length: number }
  | { kind: 'flush' | 'compact' | 'stats' | 'spaces' | 'rival' }
  | { kind: 'snapshot' | 'snapshotDrop'; name: string }
  /** Of a snapshot, or where there is a `share` of the number that is this share of the newest. */
  | { kind: 'past'; space: string; key: string; share?: number }
  | { kind: 'index'; name: IndexName; wait: boolean }
  | { kind: 'indexDrop'; name: IndexName }
  | { kind: 'query'; query: QuerySpec }
  /** Of the store's own keys. */
  | { kind: 'policy'; policy: Pick<SpaceOptions, 'history' | 'retention' | 'quotaBytes'> }
  | { kind: 'verify'; level: VerifyLevel }
  | { kind: 'follow'; space: string; keys: readonly string[]; compacts: boolean }
  | { kind: 'view'; space: string; key: string; compacts: boolean }
  | { kind: 'reader'; space: string; keys: readonly string[] };

/** Indexes there can be: on the call that put a key, in order or hashed, and on the size of its value. */
export const indexNames = ['calls', 'hashed', 'sizes'] as const;
export type IndexName = (typeof indexNames)[number];

/** Bounds on the value of an index, and how its entries are asked for. */
export interface QuerySpec {
  readonly index: IndexName;
  readonly bounds: { readonly gte?: number; readonly lt?: number; readonly eq?: number };
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly values?: boolean;
}

export type OpKind = SimOp['kind'];

/** The calls of some kinds. */
export type OpOf<K extends OpKind> = Extract<SimOp, { kind: K }>;

/** Operations of the port a fault can hit. */
export const faultTargets = [
  'open',
  'read',
  'create',
  'write',
  'sync',
  'mkdir',
  'rename',
  'unlink',
  'list',
  'stat',
  'size',
  'syncDir',
] as const;
export type FaultTarget = (typeof faultTargets)[number];

/** Kinds of faults that the coverage table tells apart. */
export type FaultKind = `EIO ${FaultTarget}` | (typeof otherFaults)[number];
export const otherFaults = [
  'delay',
  'hang',
  'hang for ever',
  'sync dropped',
  'sync reverted',
  'sync zeroed',
  'ENOSPC',
  'EDQUOT',
  'EMFILE',
  'EACCES',
  'rot',
  'short',
  'stale',
  'misdirected',
] as const;

/** Hits `times` matching operations after `skip` of them; counted over the whole run. */
export interface SimFault {
  readonly target: FaultTarget;
  /** Path prefix. */
  readonly path: string;
  readonly skip: number;
  readonly times: number;
  /** Only operations while a call of this kind is under way match. */
  readonly during?: OpKind;
  readonly act:
    | { readonly errno: string; readonly written?: number; readonly lost?: 'dropped' | 'reverted' | 'zeroed' }
    | { readonly delayMs: number }
    /** A read says yes and gives other bytes, while calls are served; `at` decides which. */
    | { readonly lie: 'rot' | 'short' | 'stale' | 'misdirected'; readonly at: number }
    /** Does not end: with 'timeout' not before ten virtual minutes, with 'never' not in this life. */
    | { readonly hang: 'timeout' | 'never' };
  /**
   * The power is cut so many calls, then operations, after the first hit, whatever other ends are planned.
   */
  readonly cut?: { readonly calls: number; readonly steps: number; readonly seed: number };
}

/**
 * The end of a life: `calls` calls after the one before began, then `steps` operations of the port. 'power'
 * loses what was not synced, by the choice of `seed`; 'kill' only the process; 'close' is an orderly one.
 */
export interface SimEnd {
  readonly kind: 'power' | 'kill' | 'close';
  readonly calls: number;
  readonly steps: number;
  readonly seed: number;
  /** The store is repaired before the next life; not by default. */
  readonly repair?: SimRepair;
}

/** A repair, of a store as it is, or with a slot of SUPER lost: that of the next install, or the newest. */
export interface SimRepair {
  readonly damage: 'none' | 'slot' | 'newest';
}

export interface SimOptions {
  readonly profile: FsProfile;
  readonly durability: SimDurability;
  /** Used by every second life. */
  readonly durability2: SimDurability;
  readonly algorithm: 'fastcdc' | 'sieve';
  readonly chunkSizes: readonly [number, number, number];
  readonly inlineMax: number;
  readonly segmentBytes: number;
  /** Chunks a value names before they are staged. */
  readonly stageBirths: number;
  /** When tables are merged. */
  readonly merging: 'off' | 'usual' | 'eager' | 'always';
  /** How much a step of the reaper does; plans of before have none. */
  readonly reaping?: 'usual' | 'small' | 'least';
  /** Threads that cut and hash, and whether they die and hang now and then; plans of before have none. */
  readonly threads?: 'none' | 'steady' | 'dying';
  readonly memtableBytes: number;
  readonly blockCacheBytes: number;
  readonly trailerCacheBytes: number;
  readonly pendingCommitBytes: number;
  readonly keyEncoding: 'utf8' | 'bytes';
  readonly spaces: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** In which order what waits goes on. */
  readonly order: 'fifo' | 'random' | 'priority';
  /** How many of the waiting go on at once. */
  readonly burst: number;
  readonly clock: 'steady' | 'jumps';
  /** Timers fire when their time has come, or only when nothing else can go on. */
  readonly timers: 'prompt' | 'late';
  readonly think: 'none' | 'some';
}

export interface SimPlan {
  readonly seed: number;
  readonly options: SimOptions;
  /** Calls by client; a client makes one at a time. */
  readonly clients: readonly (readonly SimOp[])[];
  readonly faults: readonly SimFault[];
  readonly ends: readonly SimEnd[];
  /** The disk says that it synced the log, and did not: a fault on purpose, that the oracle must find. */
  readonly lies?: boolean;
}
