/**
 * Keys that may differ between two states: those with a row between their numbers, and those a range delete
 * between them covers that is not carried out. Tables and blocks with no such row are passed over, so after
 * merges the work is that of the difference and not that of the store.
 *
 * Both states are kept while it runs, so what tells them apart has not been dropped: the version the later
 * one sees, or the deletion that hides what the earlier one sees.
 *
 * Invariants (test/engine/diff.test.ts)
 * - Every key whose version differs is given, once, in order ("a diff equals that of the two maps").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, compareRange } from '../base/bytes.ts';
import { seqBytes, seqOf } from '../format/internal-key.ts';
import type { RangeRow } from '../format/system-rows.ts';
import { type KeyCursor, OK, settle } from '../tree/cursor.ts';
import type { TreeView } from '../tree/tree-view.ts';

/** Row prefixes: from <= prefix < to; `to` undefined = the end. */
interface Interval {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

/** Which keys: rows with numbers low < seq <= high in the interval. */
export interface ChangedOptions extends Interval {
  readonly low: Seq;
  readonly high: Seq;
}

/** Row prefixes of the candidates, in order, each a copy. `view` stays the caller's, `ranges` are of it. */
export async function* changedKeys(
  view: TreeView,
  ranges: readonly RangeRow[],
  options: ChangedOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { low, high } = options;
  const covered = joined(ranges.filter(({ seq }) => seq > low && seq <= high));
  let from: Uint8Array | undefined = options.from;
  for (const range of covered) {
    if (from === undefined || !isBelow(from, options.to)) return;
    const start = compareBytes(range.from, from) > 0 ? range.from : from;
    if (range.to !== undefined && compareBytes(range.to, from) <= 0) continue;
    yield* walk(view.cursor(low), { ...options, from, to: lower(start, options.to) });
    yield* walk(view.cursor(), { low: -1, high, from: start, to: lower(range.to, options.to) });
    from = range.to;
  }
  if (from !== undefined && isBelow(from, options.to)) yield* walk(view.cursor(low), { ...options, from });
}

async function* walk(
  cursor: KeyCursor,
  { low, high, from, to }: ChangedOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (!isBelow(from, to)) return;
  let key: Uint8Array | undefined;
  let step = await settle(cursor, () => cursor.seek(from));
  for (; step === OK; step = await settle(cursor, () => cursor.next())) {
    const { keyBytes, keyFrom, keyTo } = cursor;
    const prefixTo = keyTo - seqBytes;
    if (to !== undefined && compareRange(keyBytes, keyFrom, prefixTo, to, 0, to.length) >= 0) return;
    const seq = seqOf(keyBytes, keyTo);
    if (seq <= low || seq > high) continue;
    if (key !== undefined && compareRange(keyBytes, keyFrom, prefixTo, key, 0, key.length) === 0) continue;
    key = keyBytes.slice(keyFrom, prefixTo);
    yield key;
  }
}

/** Ranges in order, those that touch made one. */
function joined(ranges: readonly Interval[]): Interval[] {
  const out: { from: Uint8Array; to: Uint8Array | undefined }[] = [];
  for (const { from, to } of [...ranges].sort((a, b) => compareBytes(a.from, b.from))) {
    const last = out.at(-1);
    const touches = last !== undefined && (last.to === undefined || compareBytes(from, last.to) <= 0);
    if (!touches) out.push({ from, to });
    else if (last.to !== undefined && (to === undefined || compareBytes(to, last.to) > 0)) last.to = to;
  }
  return out;
}

function isBelow(from: Uint8Array, to: Uint8Array | undefined): boolean {
  return to === undefined || compareBytes(from, to) < 0;
}

function lower(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareBytes(a, b) < 0 ? a : b;
}
