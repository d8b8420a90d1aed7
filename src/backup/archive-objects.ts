/** The archived log of one timeline of a store, as it lies in a vault. */

import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, isVarveError } from '../base/errors.ts';
import type { BackupManifest } from '../format/backup-manifest.ts';
import { type OpVisitor, visitOps } from '../format/log-ops.ts';
import { trees } from '../format/trees.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import {
  type Archive,
  type ArchiveEnd,
  archiveBytesMax,
  archiveEnd,
  decodeArchive,
  decodeArchiveEnd,
} from '../format/vault-archive.ts';
import { archiveDir, archiveEndName, archivePrefix, parseArchiveName } from '../format/vault-names.ts';
import type { VaultEnv } from './vault-state.ts';

/** An object by its name. */
export interface ArchiveObject {
  readonly name: string;
  readonly store: string;
  readonly timelineId: number;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
}

/** Objects of all archived logs, in order within each; `dir`: of one only. */
export async function listArchives(env: VaultEnv, dir: string = archivePrefix): Promise<ArchiveObject[]> {
  const found: ArchiveObject[] = [];
  for await (const { name } of env.store.list(dir)) {
    const named = parseArchiveName(name);
    if (named?.firstSeq === undefined || named.lastSeq === undefined) continue;
    const { store, timelineId, firstSeq, lastSeq } = named;
    found.push({ name, store, timelineId, firstSeq, lastSeq });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The directory of a store's timeline. */
export function archiveDirOf(dbUuid: Uint8Array, timelineId: number): string {
  return archiveDir(toHex(dbUuid), timelineId);
}

/** How far the archive below `dir` goes; undefined where none was begun. VARVE_CORRUPT. */
export async function readArchiveEnd(env: VaultEnv, dir: string): Promise<ArchiveEnd | undefined> {
  const name = archiveEndName(dir);
  try {
    return decodeArchiveEnd(await env.store.get(name, archiveEnd.size), name);
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
    throw error;
  }
}

/**
 * VARVE_CORRUPT when the archived log below `dir` was said to go further than its last object and than every
 * one of `backups`: what lay between is lost.
 */
export async function checkArchiveEnd(
  env: VaultEnv,
  dir: string,
  backups: readonly BackupManifest[],
): Promise<void> {
  const end = await readArchiveEnd(env, dir);
  if (end === undefined) return;
  const own = backups.filter(({ dbUuid, timelineId }) => archiveDirOf(dbUuid, timelineId) === dir);
  const last = (await listArchives(env, dir)).at(-1)?.lastSeq ?? 0;
  const known = Math.max(last, ...own.map(({ seq }) => seq));
  // Without a backup there is nothing to roll forward: prune takes all of it.
  if (own.length === 0 || known >= end.seq) return;
  const what = `commits ${known + 1} to ${end.seq} were archived and are not there`;
  throw corrupt(what, { file: archiveEndName(dir) });
}

/** Directories of all archived logs. */
export async function archiveDirs(env: VaultEnv): Promise<string[]> {
  const dirs = new Set<string>();
  for await (const { name } of env.store.list(archivePrefix)) {
    const named = parseArchiveName(name);
    if (named !== undefined) dirs.add(named.dir);
  }
  return [...dirs].sort();
}

/** The archived log of a timeline, as far as its objects follow each other without a gap. */
export interface ArchiveInfo {
  /** The store it is of, hex. */
  readonly store: string;
  readonly timelineId: number;
  /** Runs of commits that are there. */
  readonly spans: readonly { readonly firstSeq: Seq; readonly lastSeq: Seq }[];
  readonly objects: number;
  /** Nothing committed up to here is missing behind the last span; absent: nobody knows. */
  readonly until?: Date;
}

/** Every archived log in a vault. VARVE_CORRUPT. */
export async function archiveInfos(env: VaultEnv): Promise<ArchiveInfo[]> {
  const byDir = new Map<string, ArchiveObject[]>();
  for (const object of await listArchives(env)) {
    const dir = archiveDir(object.store, object.timelineId);
    byDir.set(dir, [...(byDir.get(dir) ?? []), object]);
  }
  const infos: ArchiveInfo[] = [];
  for (const [dir, objects] of byDir) {
    const spans: { firstSeq: Seq; lastSeq: Seq }[] = [];
    for (const { firstSeq, lastSeq } of objects) {
      const last = spans.at(-1);
      if (last !== undefined && firstSeq <= last.lastSeq + 1) last.lastSeq = Math.max(last.lastSeq, lastSeq);
      else spans.push({ firstSeq, lastSeq });
    }
    const end = await readArchiveEnd(env, dir);
    const isCovered = end !== undefined && end.coveredMs > 0 && spans.at(-1)!.lastSeq >= end.seq;
    const { store, timelineId } = objects[0]!;
    const until = isCovered ? { until: new Date(end.coveredMs) } : {};
    infos.push({ store, timelineId, spans, objects: objects.length, ...until });
  }
  return infos;
}

/** An object with its bytes. */
export interface ReadArchive extends Archive {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Reads and checks an object. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_NOT_FOUND. */
export async function readArchive(env: VaultEnv, object: ArchiveObject): Promise<ReadArchive> {
  const { name, store, timelineId } = object;
  const bytes = await env.store.get(name, archiveBytesMax);
  const archive = decodeArchive(bytes, name, env.vaultId, object);
  if (toHex(archive.dbUuid) !== store || archive.timelineId !== timelineId)
    throw corrupt('archived log of another store', { file: name });
  return { ...archive, name, bytes };
}

/** The values that an object's commits put. */
export function* valuesIn({ bytes, frames, name }: ReadArchive): Generator<ValueRecord> {
  for (const { payloadFrom, payloadTo, seqFirst, count } of frames) {
    const records: ValueRecord[] = [];
    const put: OpVisitor['put'] = (tree, _seq, buf, _keyFrom, _keyTo, from, to) => {
      if (tree === trees.K) records.push(parseValueRecord(buf, from, to, { file: name }));
    };
    visitOps(bytes, payloadFrom, payloadTo, seqFirst, count, { ...silentOps, put }, { file: name });
    yield* records;
  }
}

const nothing = (): void => undefined;

/** Takes every op for nothing. */
export const silentOps: OpVisitor = {
  put: nothing,
  del: nothing,
  chunk: nothing,
  move: nothing,
  purge: nothing,
  listDrop: nothing,
  trash: nothing,
  sys: nothing,
};
