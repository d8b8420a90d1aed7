/**
 * What the metadata of a key says of the file it came from: `type`, `mode` (permission bits), `mtimeMs` and
 * `mtimeNs` (nanoseconds within that millisecond), for links `target` (bytes), for files with several names
 * `hardLink` (key of the first of them), for files with holes `sparse`. Read back with suspicion: anybody may
 * put such metadata.
 */
import type { BigIntStats } from 'node:fs';
import { equalBytes } from '../../base/bytes.ts';
import type { UserMetadata } from '../../format/metadata.ts';
import { looksSparse } from './sparse.ts';

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
  /** Files only: those with the same bytes here and the same content were one file. */
  readonly hardLink: Uint8Array | undefined;
  /** Files only: runs of zeros are holes. */
  readonly sparse: boolean;
}

/** What is known of an entry beside its `stat`. */
export interface TreeExtras {
  /** Links: where it points. */
  readonly target?: Uint8Array | undefined;
  /** Files with several names: key of the first. */
  readonly hardLink?: Uint8Array | undefined;
}

const modeBits = 0o7777;
const nsPerMs = 1_000_000n;

/** Metadata for an entry with this `stat`. */
export function treeMetadata(type: TreeKind, stat: BigIntStats, extras: TreeExtras = {}): UserMetadata {
  const { target, hardLink } = extras;
  const ns = ((stat.mtimeNs % nsPerMs) + nsPerMs) % nsPerMs;
  return {
    type,
    mode: Number(stat.mode) & modeBits,
    mtimeMs: Number((stat.mtimeNs - ns) / nsPerMs),
    mtimeNs: Number(ns),
    ...(target === undefined ? {} : { target }),
    ...(hardLink === undefined ? {} : { hardLink }),
    ...(type === 'file' && looksSparse(stat) ? { sparse: true } : {}),
  };
}

/**
 * The tree metadata in `metadata`; undefined where it says nothing of a file. Parts out of range are left
 * out.
 */
export function treeEntryOf(metadata: UserMetadata | undefined): TreeEntry | undefined {
  const type = metadata?.type;
  if (type !== 'file' && type !== 'directory' && type !== 'symlink') return undefined;
  const { mode, mtimeMs, mtimeNs, target, hardLink, sparse } = metadata!;
  return {
    type,
    mode: isWithin(mode, 0, modeBits) ? mode : undefined,
    mtime: isWithin(mtimeMs, -mtimeMsMax, mtimeMsMax)
      ? secondsOf(mtimeMs, isWithin(mtimeNs, 0, 999_999) ? mtimeNs : 0)
      : undefined,
    target: target instanceof Uint8Array ? target : undefined,
    hardLink: type === 'file' && hardLink instanceof Uint8Array ? hardLink : undefined,
    sparse: type === 'file' && sparse === true,
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

/**
 * True when a key with this metadata and size was stored from a file that looks like `stat`. Whether it has
 * holes may be told late by the file system, and does not count.
 */
export function looksUnchanged(
  metadata: UserMetadata | undefined,
  size: number,
  stat: BigIntStats,
  hardLink: Uint8Array | undefined,
): boolean {
  if (metadata === undefined || BigInt(size) !== stat.size) return false;
  const now = treeMetadata('file', stat);
  const linked = metadata.hardLink;
  const sameName =
    linked instanceof Uint8Array
      ? hardLink !== undefined && equalBytes(linked, hardLink)
      : hardLink === undefined;
  return sameName && ['type', 'mode', 'mtimeMs', 'mtimeNs'].every((name) => metadata[name] === now[name]);
}
