/** What was archived between a backup and a moment. */
import type { Seq } from '../base/brands.ts';
import { VarveError } from '../base/errors.ts';
import { archiveDirOf, listArchives, readArchive, readArchiveEnd } from './archive-objects.ts';
import { chooseBackup } from './choose-backup.ts';
import { LoggedChanges } from './logged-changes.ts';
import type { Snap } from './snaps.ts';
import type { VaultEnv } from './vault-state.ts';

/** A backup, and what was committed behind it up to the moment asked for. */
export interface RestorePoint {
  readonly snap: Snap;
  /** Undefined: the backup is all there is. */
  readonly changes: LoggedChanges | undefined;
}

/** The state that options name. VARVE_NOT_FOUND, VARVE_HISTORY_GONE, VARVE_CORRUPT. */
export async function pointOf(env: VaultEnv, options: { backup?: string; at?: Date }): Promise<RestorePoint> {
  const snap = await chooseBackup(env, options);
  const { at } = options;
  return { snap, changes: at === undefined ? undefined : await changesUntil(env, snap, at) };
}

/**
 * What was committed between the backup and the moment; undefined where nothing was archived behind it, so
 * that the backup is all there is. VARVE_HISTORY_GONE when commits are missing between the two, or nobody
 * knows whether there were; VARVE_CORRUPT.
 */
async function changesUntil(env: VaultEnv, snap: Snap, at: Date): Promise<LoggedChanges | undefined> {
  const { dbUuid, timelineId, seq, timeMs } = snap.manifest;
  const dir = archiveDirOf(dbUuid, timelineId);
  const objects = (await listArchives(env, dir)).filter(({ lastSeq }) => lastSeq > seq);
  const end = await readArchiveEnd(env, dir);
  if (objects.length === 0 && (end === undefined || end.seq < seq)) return undefined;
  const untilMs = at.getTime();
  const changes = new LoggedChanges(seq, timeMs);
  let done = seq;
  for (const object of objects) {
    if (object.firstSeq > done + 1) throw gone(snap, changes, at, done + 1, object.firstSeq - 1);
    const archive = await readArchive(env, object);
    if (!changes.take(archive, untilMs)) return changes;
    done = Math.max(done, object.lastSeq);
    if (archive.lastMs > untilMs) return changes;
  }
  const isCovered = end !== undefined && done >= end.seq && untilMs <= end.coveredMs;
  if (!isCovered) throw gone(snap, changes, at, done + 1, undefined);
  return changes;
}

function gone({ id }: Snap, { timeMs }: LoggedChanges, at: Date, from: Seq, to: Seq | undefined): VarveError {
  const missing = to === undefined ? `from ${from} on` : `${from} .. ${to}`;
  return new VarveError(
    'VARVE_HISTORY_GONE',
    `commits ${missing} are not in the archive, so the state at ${at.toISOString()} is not known; ` +
      `what is there goes up to ${new Date(timeMs).toISOString()}, and the backup before is ${id}`,
  );
}
