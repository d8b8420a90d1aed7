/** What merges may leave out: rows that nobody can ask for any more. */
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { isCovered } from './ranges.ts';
import type { Audit, Row } from './rows.ts';

/**
 * Throws unless every row that is gone was of no use: the newest put of a key is there, a version whose value
 * lies in chunks is, or was purged, and a removal only goes when nothing of its key is left under it or a
 * newer row of the key is there. A late delete is a removal. A range delete only goes when it is carried out:
 * no put it hides is the newest row of its key. What reads under way saw, their observations tell.
 */
export function checkRetained({
  rows,
  late,
  present,
  isPurged,
}: Pick<Audit, 'rows' | 'late' | 'present' | 'isPurged'>): void {
  const carriedOut = rows.filter((row) => row.range !== undefined && !present.has(row));
  /** Keys with a newer row that is there; keys whose newer removal is gone. */
  const covered = new Set<string>();
  const hidden = new Set<string>();
  for (const row of newestFirst(rows, late)) {
    const name = `${row.space} ${row.key}`;
    const what = `row ${row.seq}:${row.key}`;
    if (present.has(row)) {
      // A late delete lies in a newer table than the removals after it: it may outlive them.
      if (hidden.has(name) && row.isPut) throw new Error(`${what} is there, and its removal is gone`);
      if (row.isPut && !covered.has(name)) checkHidden(row, carriedOut);
      covered.add(name);
    } else if (row.hasChunks && !isPurged(row)) throw new Error(`${what} holds chunks and is gone`);
    else if (!covered.has(name)) {
      if (row.isPut && !hidden.has(name)) throw new Error(`${what} is the newest of its key and is gone`);
      hidden.add(name);
    }
  }
}

/** Rows of keys and late deletes; both lists are in the order of commits. */
function* newestFirst(rows: readonly Row[], late: readonly Row[]): Generator<Row> {
  let at = late.length - 1;
  for (let i = rows.length - 1; i >= 0; i--) {
    const row = rows[i]!;
    while (at >= 0 && late[at]!.seq > row.seq) yield late[at--]!;
    if (row.range === undefined) yield row;
  }
  while (at >= 0) yield late[at--]!;
}

/** `put` is the newest row of its key: no range delete that is gone may have hidden it. */
function checkHidden({ seq, space, key }: Row, carriedOut: readonly Row[]): void {
  const later = carriedOut.filter((one) => one.seq > seq && one.space === space);
  if (later.length === 0) return;
  const rowKey = toHex(encodeRowPrefix(space, fromHex(key)));
  const by = later.find(({ range }) => isCovered(rowKey, range!));
  if (by !== undefined)
    throw new Error(`row ${seq}:${key} is there, range delete ${by.seq} is gone and did not remove it`);
}
