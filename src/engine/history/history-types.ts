/** Shapes of the public face for what is kept of the past. */
import type { Seq } from '../../base/brands.ts';
import type { PeriodRule } from '../../base/keep-periods.ts';
import type { UserMetadata } from '../../format/metadata.ts';
import type { EntryStat, Key } from '../types.ts';
import type { At } from './point.ts';

/** A named snapshot. */
export interface SnapshotInfo {
  name: string;
  /** Number of the commit that made it: the state is the one after it. */
  seq: Seq;
  time: Date;
  note?: string;
}

/**
 * Why a version is kept: it is the newest; a policy, a snapshot or an open view (or a read under way) may ask
 * for it; or nobody may any more, and it goes with the next background work.
 */
export type KeptBy =
  | 'current'
  | 'history.versions'
  | 'history.ms'
  | `retention.${PeriodRule}`
  | `snapshot:${string}`
  | 'view'
  | 'pending';

/** A version of a key. */
export interface VersionInfo {
  /** Number of its commit; `get(key, { at: seq })` reads it. */
  seq: Seq;
  time: Date;
  /** The key was deleted by that commit. */
  deleted: boolean;
  size: number;
  /** Content address, hex; not of a deletion. */
  digest?: string;
  metadata?: UserMetadata;
  contentType?: string;
  tags?: string[];
  expires?: Date;
  /** Never empty. A deletion goes as soon as nothing is left under it, also where it is the newest. */
  keptBy: KeptBy[];
}

/** Options of a diff. */
export interface DiffOptions {
  /** Only keys that begin with it. */
  prefix?: Key;
  signal?: AbortSignal;
}

/** A key that differs between two points in time: its newest version there is another one, or none. */
export interface Difference<K extends Key = string> {
  key: K;
  change: 'added' | 'changed' | 'removed';
  before?: EntryStat;
  after?: EntryStat;
}

/** Which state a view shows; the newest where nothing is said. */
export interface ViewOptions {
  /** A point in time, see ReadOptions. */
  at?: At;
  /** A named snapshot. */
  snapshot?: string;
}
