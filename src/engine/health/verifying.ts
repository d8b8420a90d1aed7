/** `verify` of an open store: options checked, and what a check needs of the store. */
import { toHex } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { CheckBook } from '../../integrity/check-book.ts';
import type { Unit } from '../../integrity/live-files.ts';
import { verifyStore } from '../../integrity/verify.ts';
import { decodeVerifyCursor, type VerifyLevel, verifyLevels } from '../../integrity/verify-cursor.ts';
import type { VerifyProgress, VerifyReport, VerifyWork } from '../../integrity/verify-types.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Store } from '../store.ts';

/** What to check, and how long. */
export interface VerifyOptions {
  /**
   * 'index': SUPER, catalogs, log, tables. 'chunks' (default): and every frame of every segment, places and
   * counts of the chunk index. 'full': and the SHA-256 of every chunk.
   */
  level?: VerifyLevel;
  /** Ends between two files once this time has passed, ms; at least one is checked. */
  maxMs?: number;
  /**
   * Leaves out files that a scrub has found sound at this level since then, and that cannot have changed;
   * what changes is always checked. A damaged or absent record of checks leaves out nothing.
   */
  since?: Date;
  /** Share of the time that the check may work, above 0 up to 1 (default): it rests in between. */
  share?: number;
  /** From the report of a check of the same level that was not finished. */
  cursor?: string;
  onProgress?: (progress: VerifyProgress) => void;
  signal?: AbortSignal;
}

const names = ['level', 'maxMs', 'since', 'share', 'cursor', 'onProgress', 'signal'];

/** Checks the store; see Engine.verify. */
export async function verify(store: Store, options: VerifyOptions = {}): Promise<VerifyReport> {
  checkNames(options, names, 'option');
  const { level = 'chunks', maxMs, since, share, cursor, onProgress, signal } = options;
  if (!verifyLevels.includes(level)) throw invalid(`level is one of ${verifyLevels.join(', ')}`);
  if (maxMs !== undefined && !(typeof maxMs === 'number' && maxMs >= 0))
    throw invalid('maxMs is a number of milliseconds');
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress is a function');
  if (since !== undefined && !(since instanceof Date && Number.isFinite(since.getTime())))
    throw invalid('since is a Date');
  checkShare('share', share);
  const start = cursor === undefined ? undefined : decodeVerifyCursor(cursor, level);
  throwIfAborted(signal);
  const work = { level, start, maxMs, onProgress, share, signal };
  if (since === undefined) return await check(store, work);
  const book = await checkBookOf(store);
  const skips = (unit: Unit): boolean =>
    unit.isFinal && book.checkedMs(unit, level) >= Math.max(1, since.getTime());
  return await check(store, { ...work, skips });
}

/** VARVE_INVALID_ARGUMENT unless it is a share of a whole, or not given. */
export function checkShare(name: string, share: number | undefined): void {
  if (share !== undefined && !(typeof share === 'number' && share > 0 && share <= 1))
    throw invalid(`${name} is a number above 0, up to 1`, { actual: share });
}

/** What was checked when, as the file says now. VARVE_IO. */
export async function checkBookOf({ parts: { env, identity } }: Store): Promise<CheckBook> {
  const book = new CheckBook(toHex(identity.dbUuid));
  await book.load(env.fs);
  return book;
}

/** What a check leaves to its caller. */
export type CheckTask = Pick<
  VerifyWork,
  | 'level'
  | 'start'
  | 'maxMs'
  | 'onProgress'
  | 'share'
  | 'isBackground'
  | 'signal'
  | 'skips'
  | 'onSound'
  | 'onEnd'
>;

/** Runs a check over the store as it is now. */
export async function check(store: Store, task: CheckTask): Promise<VerifyReport> {
  const { env, spaces, segments, health, threads } = store.parts;
  const view = store.openView();
  try {
    return await verifyStore({
      ...task,
      fs: env.fs,
      clock: env.clock,
      threads,
      checkAborted: () => throwIfAborted(task.signal),
      seqMax: () => store.visibleSeq,
      now: {
        chunks: store.forest.chunks,
        segments,
        rows: () => view.cursor(),
        spaceName: (space) => spaces.nameOf(space),
        snapshots: store.forest.history.snapshotsAt(store.visibleSeq),
      },
      onDamage: (error) => health.note(error),
    });
  } finally {
    store.closeView(view);
  }
}
