/** `verify` of an open store: options checked, and what a check needs of the store. */
import { invalid } from '../base/errors.ts';
import { checkNames } from '../base/names.ts';
import { verifyStore } from '../integrity/verify.ts';
import { decodeVerifyCursor, type VerifyLevel, verifyLevels } from '../integrity/verify-cursor.ts';
import type { VerifyProgress, VerifyReport } from '../integrity/verify-types.ts';
import { throwIfAborted } from './key-args.ts';
import type { Store } from './store.ts';

/** What to check, and how long. */
export interface VerifyOptions {
  /**
   * 'index': SUPER, catalogs, log, tables. 'chunks' (default): and every frame of every segment, places and
   * counts of the chunk index. 'full': and the SHA-256 of every chunk.
   */
  level?: VerifyLevel;
  /** Ends between two files once this time has passed, ms; at least one is checked. */
  maxMs?: number;
  /** From the report of a check of the same level that was not finished. */
  cursor?: string;
  onProgress?: (progress: VerifyProgress) => void;
  signal?: AbortSignal;
}

const names = ['level', 'maxMs', 'cursor', 'onProgress', 'signal'];

/** Checks the store; see Engine.verify. */
export async function verify(store: Store, options: VerifyOptions = {}): Promise<VerifyReport> {
  checkNames(options, names, 'option');
  const { level = 'chunks', maxMs, cursor, onProgress, signal } = options;
  if (!verifyLevels.includes(level)) throw invalid(`level is one of ${verifyLevels.join(', ')}`);
  if (maxMs !== undefined && !(typeof maxMs === 'number' && maxMs >= 0))
    throw invalid('maxMs is a number of milliseconds');
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress is a function');
  const start = cursor === undefined ? undefined : decodeVerifyCursor(cursor, level);
  throwIfAborted(signal);
  const { env, spaces, segments, health, threads } = store.parts;
  const view = store.openView();
  try {
    return await verifyStore({
      fs: env.fs,
      clock: env.clock,
      level,
      threads,
      start,
      maxMs,
      onProgress,
      checkAborted: () => throwIfAborted(signal),
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
