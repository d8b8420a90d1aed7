/** The options that say which state of a vault is meant. */
import { invalid } from '../../base/errors.ts';

/** VARVE_INVALID_ARGUMENT unless `backup` or `at`, and not both, can be used. */
export function checkPoint({ backup, at }: { backup?: string; at?: Date }): void {
  if (backup !== undefined && at !== undefined) throw invalid('give backup or at, not both');
  if (backup !== undefined && (typeof backup !== 'string' || backup === '')) throw invalid('backup is an id');
  if (at !== undefined && !(at instanceof Date && Number.isFinite(at.getTime())))
    throw invalid('at is a Date');
}
