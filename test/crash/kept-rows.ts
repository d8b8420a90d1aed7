/** Which rows of a history a store must still have. */
import { toHex } from '../../src/base/bytes.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import { deleteRecord } from '../../src/format/value-record.ts';
import type { SpaceRow } from './log-rows.ts';
import { type Row, valueName } from './row.ts';
import { covers, versionOf } from './system-rows.ts';

const sameRow = (a: Row, b: Row): boolean =>
  a.seq === b.seq && a.space === b.space && a.key === b.key && a.record === b.record;

/** What a history has up to some commit: rows, late ones left out, range deletes and names of spaces. */
export interface Committed {
  readonly rows: readonly Row[];
  readonly ranges: readonly RangeRow[];
  readonly spaceRows: readonly SpaceRow[];
}

/**
 * Holds the rows `found` against those `committed`, both by number; undefined when all is well. With `merges`
 * a row may be gone that nobody can see: one that another row of its key or a range delete supersedes, and a
 * delete with nothing older of its key left; whether chunks were given back first, counts tell. Of superseded
 * versions the newest `historyVersions` of each key stay. Late rows may be there or not; what a missing one
 * would have hidden, the state shows.
 */
export function rowsProblem(
  found: readonly Row[],
  committed: Committed,
  { merges, historyVersions }: { merges?: boolean; historyVersions?: number },
): string | undefined {
  const strange = found.filter((row) => row.isLate && !carriesOut(row, committed));
  if (strange.length > 0) return `late rows that carry out nothing [${show(strange)}]`;
  const ordinary = found.filter(({ isLate }) => !isLate);
  const missing: Row[] = [];
  let at = 0;
  for (const row of committed.rows) {
    if (at < ordinary.length && sameRow(ordinary[at]!, row)) at++;
    else missing.push(row);
  }
  if (at < ordinary.length || (missing.length > 0 && merges !== true))
    return differences(ordinary, committed.rows);
  if (missing.length === 0) return undefined;
  const lost = missing.filter((row) => !mayBeGone(row, ordinary, committed, historyVersions ?? 0));
  return lost.length === 0 ? undefined : `missing [${show(lost)}]`;
}

/**
 * Deletes behind commit `last` by which an earlier open of the store has taken away what had expired: `brief`
 * are the names of the values that do, by number and key.
 */
export function deletesOfBrief(
  found: readonly Row[],
  { rows }: Pick<Committed, 'rows'>,
  last: number,
  brief: ReadonlySet<string>,
): Row[] {
  const isOfBrief = (row: Row): boolean => {
    const newest = rows.findLast((other) => other.key === row.key && other.space === row.space);
    return newest?.isPut === true && brief.has(valueName(newest.seq, newest.key));
  };
  return found.filter((row) => row.seq > last && !row.isPut && !row.isLate && isOfBrief(row));
}

/** What the tables of a store hold, beside its rows. */
export interface InTables {
  /** Commits up to this number are in tables. */
  readonly checkpointSeq: number;
  /** Versions that wait for their time to come, by `versionOf`. */
  readonly expiring: ReadonlySet<string>;
}

/**
 * Deletes behind commit `last` that are in no table any more, with a number nobody looks at: where a key has
 * nothing older, a merge drops the version that had expired and the delete together, so that only these show
 * that it was deleted: tables hold later commits, and the version is out of the queue of what expires, from
 * where the commit that deletes the key takes it. A row that was lost by itself would still be queued.
 */
export function deletesMergedAway(
  found: readonly Row[],
  { rows, ranges }: Pick<Committed, 'rows' | 'ranges'>,
  last: number,
  brief: ReadonlySet<string>,
  { checkpointSeq, expiring }: InTables,
): Row[] {
  if (checkpointSeq <= last) return [];
  const isOfKey = (row: Row, other: Row): boolean => row.key === other.key && row.space === other.space;
  const isGone = (row: Row): boolean =>
    brief.has(valueName(row.seq, row.key)) &&
    !expiring.has(versionOf(row)) &&
    !rows.some((other) => other.seq > row.seq && isOfKey(row, other)) &&
    !ranges.some((range) => range.seq > row.seq && covers(range, row.space, row.key)) &&
    !found.some((other) => other.seq >= row.seq && !other.isLate && isOfKey(row, other));
  return rows
    .filter((row) => row.isPut && isGone(row))
    .map((row) => ({ ...row, seq: last + 1, isPut: false, record: '' }));
}

/** A late row stands for a range delete, where the newest version below it is one that was to be seen. */
function carriesOut(late: Row, { rows, ranges }: Committed): boolean {
  const range = ranges.find(({ seq }) => seq === late.seq);
  if (range === undefined || !covers(range, late.space, late.key)) return false;
  if (late.record !== toHex(deleteRecord(range.timeMs, true))) return false;
  const isBelow = (row: Row): boolean =>
    row.key === late.key && row.space === late.space && row.seq < late.seq;
  return rows.findLast(isBelow)?.isPut === true;
}

function mayBeGone(row: Row, found: readonly Row[], committed: Committed, versions: number): boolean {
  const { rows, ranges, spaceRows } = committed;
  const isOfKey = (other: Row): boolean => other.key === row.key && other.space === row.space;
  const newer = rows.filter((other) => other.seq > row.seq && isOfKey(other)).length;
  if (!row.isPut) return newer > 0 || !found.some((other) => other.seq < row.seq && isOfKey(other));
  const covering = ranges.filter((range) => range.seq > row.seq && covers(range, row.space, row.key)).length;
  // Nobody can name the number of a dropped space any more.
  const named = spaceRows.findLast(({ number }) => number === row.space);
  const isDropped =
    named !== undefined && spaceRows.some(({ seq, name }) => seq > named.seq && name === named.name);
  return newer + covering > (isDropped ? 0 : versions);
}

function differences(rows: readonly Row[], expected: readonly Row[]): string {
  const missing = expected.filter((row) => !rows.some((other) => sameRow(row, other)));
  const extra = rows.filter((row) => !expected.some((other) => sameRow(row, other)));
  return `missing [${show(missing)}], unexpected [${show(extra)}]`;
}

const show = (some: readonly Row[]): string => some.map(({ seq, key }) => `${seq}:${key}`).join(' ');
