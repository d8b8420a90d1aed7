/**
 * What the metadata of a key says of the file it came from: `type`, `mode` (permission bits), `mtimeMs` and
 * `mtimeNs` (nanoseconds within that millisecond), for links `target` (bytes). Read back with suspicion:
 * anybody may put such metadata.
 */
import type { BigIntStats } from 'node:fs';
import type { UserMetadata } from '../../format/metadata.ts';

/** Kinds of entries a tree consists of. */
export type TreeKind = 'file' | 'directory' | 'symlink';

/** Tree metadata of one key, checked. */
export interface TreeEntry {
  readonly type: TreeKind;
  readonly mode: number | undefined;
  /** Seconds since 1970 as the file system calls take them. */
  readonly mtime: number | undefined;
  /** Links only. */
  readonly target: Uint8Array | undefined;
}

const modeBits = 0o7777;
const nsPerMs = 1_000_000n;

/** Metadata for an entry with this `stat`. */
export function treeMetadata(type: TreeKind, stat: BigIntStats, target?: Uint8Array): UserMetadata {
  const ns = ((stat.mtimeNs % nsPerMs) + nsPerMs) % nsPerMs;
  return {
    type,
    mode: Number(stat.mode) & modeBits,
    mtimeMs: Number((stat.mtimeNs - ns) / nsPerMs),
    mtimeNs: Number(ns),
    ...(target === undefined ? {} : { target }),
  };
}

/**
 * The tree metadata in `metadata`; undefined where it says nothing of a file. Parts out of range are left
 * out.
 */
export function treeEntryOf(metadata: UserMetadata | undefined): TreeEntry | undefined {
  const type = metadata?.type;
  if (type !== 'file' && type !== 'directory' && type !== 'symlink') return undefined;
  const { mode, mtimeMs, mtimeNs, target } = metadata!;
  return {
    type,
    mode: isWithin(mode, 0, modeBits) ? mode : undefined,
    mtime: isWithin(mtimeMs, -mtimeMsMax, mtimeMsMax)
      ? secondsOf(mtimeMs, isWithin(mtimeNs, 0, 999_999) ? mtimeNs : 0)
      : undefined,
    target: target instanceof Uint8Array ? target : undefined,
  };
}

/** What a Date can hold. */
const mtimeMsMax = 8.64e15;

/**
 * Seconds as a double. The system calls cut them to whole nanoseconds, and a double near today's date has
 * steps of 238 ns: half a step more keeps the result from falling below a whole microsecond.
 */
function secondsOf(ms: number, ns: number): number {
  return ms / 1000 + (ns + 250) / 1e9;
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

/**
 * Permission bits an export sets. Set-user-id and set-group-id are dropped from files: they would give the
 * exporting user's rights to whoever wrote the store.
 */
export function exportedMode(type: TreeKind, mode: number): number {
  return type === 'file' ? mode & 0o1777 : mode & modeBits & ~0o4000;
}

/** True when a key with this metadata and size was stored from a file that looks like `stat`. */
export function looksUnchanged(
  metadata: UserMetadata | undefined,
  size: number,
  type: TreeKind,
  stat: BigIntStats,
): boolean {
  if (metadata === undefined || BigInt(size) !== stat.size) return false;
  const now = treeMetadata(type, stat);
  return ['type', 'mode', 'mtimeMs', 'mtimeNs'].every((name) => metadata[name] === now[name]);
}
