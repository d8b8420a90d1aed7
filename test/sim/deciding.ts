/** What calls depend on that are decided on a state: conditions, updates, transactions. */
import { type Attempt, newestOf } from './attempts.ts';
import { isWithin } from './ranges.ts';
import type { VersionBook } from './version-book.ts';

/** Why a call cannot have been decided as it was at commit `seq`; undefined where it can. */
export function contradiction(book: VersionBook, attempt: Attempt, seq: number): string | undefined {
  const { space, changes, ifSeq, saw, view } = attempt;
  const [key] = changes.keys();
  const before = key === undefined ? undefined : book.at(space, key, seq - 1);
  if (ifSeq !== undefined && (before?.seq ?? 0) !== ifSeq)
    return `asked for ${ifSeq}, the key was at ${before?.seq ?? 0}`;
  if (saw !== undefined && (before?.id ?? null) !== saw)
    return `was decided on what call ${saw} put, the key had that of ${before?.id ?? null}`;
  if (view === undefined) return undefined;
  const changed = changedSince(book, attempt, view, seq - 1);
  return changed === undefined ? undefined : `saw the state at ${view}, ${changed} was changed since`;
}

/** A key the call depends on that has a version above `from`, up to `to`. */
function changedSince(book: VersionBook, attempt: Attempt, from: number, to: number): string | undefined {
  const { space, changes, depends } = attempt;
  const keys = depends === 'all' ? book.keysOf(space) : [...changes.keys(), ...depends];
  return keys.find((key) => (newestOf(book.versionsOf(space, key), to)?.seq ?? 0) > from);
}

/** True when a call may be refused with a conflict: for a commit it did not see, or one under way. */
export function mayConflict(book: VersionBook, attempt: Attempt, attempts: readonly Attempt[]): boolean {
  const { space, changes, low, ifSeq } = attempt;
  const [key] = changes.keys();
  if (ifSeq !== undefined && (book.at(space, key!, low)?.seq ?? 0) !== ifSeq) return true;
  if (isContended(attempt, attempts) || isDropped(attempt, attempts)) return true;
  // What was gone through may have expired meanwhile.
  if (attempt.depends === 'all' && book.mayExpire) return true;
  return ifSeq === undefined && changedSince(book, attempt, low, Number.MAX_SAFE_INTEGER) !== undefined;
}

/** True when the space was being dropped at some time of the call: its number may be none any more. */
function isDropped({ space, begin, end }: Attempt, attempts: readonly Attempt[]): boolean {
  return attempts.some(
    (other) =>
      other.kind === 'drop' &&
      other.space === space &&
      other.begin < end &&
      (other.end > begin || other.outcome === 'unknown'),
  );
}

/** True when others of `attempts` on a key that the call depends on were under way while it was. */
function isContended(attempt: Attempt, attempts: readonly Attempt[]): boolean {
  const { space, begin, end, depends } = attempt;
  const keys = depends === 'all' ? undefined : [...attempt.changes.keys(), ...depends];
  return attempts.some(
    (other) =>
      other !== attempt &&
      other.space === space &&
      other.begin < end &&
      other.end > begin &&
      (keys === undefined ||
        keys.some(
          (key) => other.changes.has(key) || (other.bounds !== undefined && isWithin(key, other.bounds)),
        )),
  );
}
