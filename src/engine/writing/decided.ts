/** Commits that may be refused because of what others have committed. */
import { isVarveError } from '../../base/errors.ts';
import type { WriteSide } from '../store.ts';

/**
 * Runs a commit, in this very turn. A conflict is told when what it was decided on can be read: whoever reads
 * again and retries then goes on with the new state, and never spins against commits that are on their way to
 * the disk. What is beyond a quota is tried again when range deletes, or keys that have expired, have given
 * something back.
 */
export async function decided<T>(write: WriteSide, commit: () => T | Promise<T>): Promise<T> {
  for (;;) {
    try {
      const outcome = commit();
      return outcome instanceof Promise ? await outcome : outcome;
    } catch (error) {
      if (isVarveError(error, 'VARVE_CONFLICT')) await write.log.drained();
      if (!isVarveError(error, 'VARVE_QUOTA') || !(await write.quotas.givenBack())) throw error;
    }
  }
}
