/** Which rows of a history a store must still have. */
import type { Row } from './audit.ts';

const sameRow = (a: Row, b: Row): boolean =>
  a.seq === b.seq && a.space === b.space && a.key === b.key && a.record === b.record;

/** Form of the value, the high half of a record's first byte: 0 is inline, anything else names chunks. */
const holdsChunks = ({ record }: Row): boolean => record[0] !== '0';

/**
 * Holds the rows `found` against those `committed`, both by number; undefined when all is well. With `merges`
 * a row may be gone that nobody can see: one that another row of its key supersedes and that holds no chunks,
 * and a delete with nothing older of its key left.
 */
export function rowsProblem(
  found: readonly Row[],
  committed: readonly Row[],
  merges: boolean,
): string | undefined {
  const missing: Row[] = [];
  let at = 0;
  for (const row of committed) {
    if (at < found.length && sameRow(found[at]!, row)) at++;
    else missing.push(row);
  }
  if (at < found.length || (missing.length > 0 && !merges)) return differences(found, committed);
  if (missing.length === 0) return undefined;
  const lost = missing.filter((row) => !mayBeGone(row, found, committed));
  return lost.length === 0 ? undefined : `missing [${show(lost)}]`;
}

function mayBeGone(row: Row, found: readonly Row[], committed: readonly Row[]): boolean {
  const isOfKey = (other: Row): boolean => other.key === row.key && other.space === row.space;
  const isSuperseded = committed.some((other) => other.seq > row.seq && isOfKey(other));
  if (row.isPut) return isSuperseded && !holdsChunks(row);
  return isSuperseded || !found.some((other) => other.seq < row.seq && isOfKey(other));
}

function differences(rows: readonly Row[], expected: readonly Row[]): string {
  const missing = expected.filter((row) => !rows.some((other) => sameRow(row, other)));
  const extra = rows.filter((row) => !expected.some((other) => sameRow(row, other)));
  return `missing [${show(missing)}], unexpected [${show(extra)}]`;
}

const show = (some: readonly Row[]): string => some.map(({ seq, key }) => `${seq}:${key}`).join(' ');
