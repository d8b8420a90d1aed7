/**
 * Names of the objects of a vault:
 *
 *   VAULT                              what makes it one
 *   packs/xx/yy/<sha256>.pack          chunk frames; xx and yy are the first two bytes of the name,
 *                                      which is the SHA-256 of their skeleton (pack-header.ts)
 *   idx/<sha256>.idx                   where chunks lie in packs
 *   snaps/<time>-<id>.snap | .part     backups, and those under way; 16 and 32 hex digits
 *   wal/<store>/<timeline>/<first>-<last>.wal
 *                                      archived log; 32 and three times 16 hex digits
 *   wal/<store>/<timeline>/until       how far it goes
 *   pending-delete/<sha256>            packs that a later prune may delete
 *   locks/prune-<token>                a prune is under way
 *   runs/<store>/<token>               schedules of a store are being run
 *   noted/<store>/<sha256>             last run of a schedule; the hash is that of its name
 *   verified/level-<n>                 how far verifies that take turns have come
 */
export const vaultName = 'VAULT';
export const packPrefix = 'packs/';
export const indexPrefix = 'idx/';
export const snapPrefix = 'snaps/';
export const pendingPrefix = 'pending-delete/';
export const lockPrefix = 'locks/';
export const archivePrefix = 'wal/';

/** `hash`: 64 hex digits, as in all names here. */
export function packName(hash: string): string {
  return `${packPrefix}${hash.slice(0, 2)}/${hash.slice(2, 4)}/${hash}.pack`;
}

export function indexName(hash: string): string {
  return `${indexPrefix}${hash}.idx`;
}

export function pruneLockName(token: string): string {
  return `${lockPrefix}prune-${token}`;
}

/** `store`: 32 hex digits. */
export function runLockPrefix(store: string): string {
  return `runs/${store}/`;
}

export function runLockName(store: string, token: string): string {
  return `${runLockPrefix(store)}${token}`;
}

export const runNotePrefix = 'noted/';

/** `store`: 32 hex digits; `nameHash`: 64, of the name of the schedule. */
export function runNoteName(store: string, nameHash: string): string {
  return `${runNotePrefix}${store}/${nameHash}`;
}

export function rotationName(level: number): string {
  return `verified/level-${level}`;
}

export function pendingName(packHash: string): string {
  return `${pendingPrefix}${packHash}`;
}

/** `id`: 32 hex digits. */
export function snapName(timeMs: number, id: string, kind: 'snap' | 'part' = 'snap'): string {
  return `${snapPrefix}${timeMs.toString(16).padStart(16, '0')}-${id}.${kind}`;
}

/** Where the archived log of a timeline lies. `store`: 32 hex digits. */
export function archiveDir(store: string, timelineId: number): string {
  return `${archivePrefix}${store}/${hex16(timelineId)}/`;
}

export function archiveName(dir: string, firstSeq: number, lastSeq: number): string {
  return `${dir}${hex16(firstSeq)}-${hex16(lastSeq)}.wal`;
}

export function archiveEndName(dir: string): string {
  return `${dir}until`;
}

function hex16(value: number): string {
  return value.toString(16).padStart(16, '0');
}

const archivePattern =
  /^(wal\/([0-9a-f]{32})\/([0-9a-f]{16})\/)(?:([0-9a-f]{16})-([0-9a-f]{16})\.wal|until)$/;
const packPattern = /^packs\/([0-9a-f]{2})\/([0-9a-f]{2})\/(\1\2[0-9a-f]{60})\.pack$/;
const indexPattern = /^idx\/([0-9a-f]{64})\.idx$/;
const pendingPattern = /^pending-delete\/([0-9a-f]{64})$/;
const snapPattern = /^snaps\/([0-9a-f]{16})-([0-9a-f]{32})\.(snap|part)$/;

/** What the name of an object says; undefined for names that are none of ours. */
export function packHashOf(name: string): string | undefined {
  return packPattern.exec(name)?.[3];
}

export function indexHashOf(name: string): string | undefined {
  return indexPattern.exec(name)?.[1];
}

export function pendingHashOf(name: string): string | undefined {
  return pendingPattern.exec(name)?.[1];
}

export function parseSnapName(
  name: string,
): { timeMs: number; id: string; kind: 'snap' | 'part' } | undefined {
  const match = snapPattern.exec(name);
  if (match === null) return undefined;
  const timeMs = Number.parseInt(match[1]!, 16);
  if (timeMs > Number.MAX_SAFE_INTEGER) return undefined;
  return { timeMs, id: match[2]!, kind: match[3] as 'snap' | 'part' };
}

/** What the name of an object of an archived log says; without numbers it is `until`. */
export interface ArchiveNamed {
  readonly dir: string;
  readonly store: string;
  readonly timelineId: number;
  readonly firstSeq?: number;
  readonly lastSeq?: number;
}

export function parseArchiveName(name: string): ArchiveNamed | undefined {
  const match = archivePattern.exec(name);
  if (match === null) return undefined;
  const [, dir, store, timeline, first, last] = match;
  const base = { dir: dir!, store: store!, timelineId: Number.parseInt(timeline!, 16) };
  if (first === undefined) return base;
  const numbers = { firstSeq: Number.parseInt(first, 16), lastSeq: Number.parseInt(last!, 16) };
  const fits = numbers.firstSeq >= 1 && numbers.firstSeq <= numbers.lastSeq;
  return fits && Number.isSafeInteger(numbers.lastSeq) ? { ...base, ...numbers } : undefined;
}
