/**
 * Names of every file of a store, relative to its directory. Numbered files carry their number as 16 hex
 * digits; tables and segments fan out over two levels by bits 16..23 and 8..15 of the number, so that 256
 * consecutive files share a leaf directory.
 */
import type { FileNo } from '../base/brands.ts';

export const superName = 'SUPER';
export const lockName = 'LOCK';
/** Space set aside against a full disk. */
export const reserveName = 'reserve';
/** Where readers in other processes have their leases, `<nonce>.lease`. */
export const readersDir = 'readers';
export const leaseSuffix = '.lease';
/** What was checked when. */
export const checksName = 'checks';

/** Top-level directories of a store, in the order they are made. */
export const storeDirs = ['cat', 'wal', 'tab', 'seg', 'readers', 'quarantine', 'tmp'] as const;

export type NumberedKind = 'cat' | 'wal' | 'tab' | 'seg';

const hex = (n: number, width: number): string => n.toString(16).padStart(width, '0');

/** `tab/00/01/0000000000000123.tab`, `wal/0000000000000007.wal`. */
export function filePath(kind: NumberedKind, no: FileNo): string {
  return `${fileDir(kind, no)}/${hex(no, 16)}.${kind}`;
}

/** The directory `filePath(kind, no)` lies in. */
export function fileDir(kind: NumberedKind, no: FileNo): string {
  if (kind === 'cat' || kind === 'wal') return kind;
  const low = no % 2 ** 24;
  return `${kind}/${hex(Math.floor(low / 65536), 2)}/${hex(Math.floor(low / 256) % 256, 2)}`;
}

const numbered = /^([0-9a-f]{16})\.(cat|wal|tab|seg)$/;

/** Kind and number of a file name (its last path component), or null when it is not one of ours. */
export function parseFileName(name: string): { kind: NumberedKind; no: FileNo } | null {
  const match = numbered.exec(name);
  if (match === null) return null;
  const no = Number.parseInt(match[1]!, 16);
  return no >= 1 && no <= Number.MAX_SAFE_INTEGER ? { kind: match[2] as NumberedKind, no } : null;
}
