/** The states of a store that can be read, and which of them a caller asks for. */
import type { Seq } from '../../base/brands.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { historyMsMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import type { SnapshotRow } from '../../format/history-rows.ts';
import { encodeSysPrefix } from '../../format/internal-key.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import { decodeSpaceRow, spaceKey } from '../../format/system-rows.ts';
import { OK } from '../../tree/cursor.ts';
import { RowRef } from '../../tree/row-ref.ts';
import type { Store } from '../store.ts';
import type { AskedMoment, At, Moment } from './point.ts';

/**
 * The moment of `at`, now; pin its number in the same turn. VARVE_INVALID_ARGUMENT for what is no point in
 * time and for a number above the newest, VARVE_NOT_FOUND for a snapshot that is not there.
 */
export function momentOf(store: Store, at: At): AskedMoment {
  if (typeof at === 'number') return momentOfSeq(store, at);
  if (at instanceof Date) return momentOfDate(store, at.getTime());
  if (typeof at !== 'object' || at === null) throw invalid('at must be a number, a Date or { snapshot }');
  checkNames(at, ['snapshot'], 'point in time');
  const { seq, timeMs } = snapshotNamed(store, at.snapshot);
  return { seq, expiryMs: timeMs, isWhole: () => true };
}

/** The newest state; with `expiryMs` fixed where a reader is to see the same for long. */
export function newestMoment(store: Store): AskedMoment {
  return { seq: store.visibleSeq, expiryMs: store.nowMs, isWhole: () => true };
}

/** VARVE_NOT_FOUND, or VARVE_CORRUPT where the row may be lost. */
export function snapshotNamed(store: Store, name: string): SnapshotRow {
  const rows = store.forest.history;
  if (typeof name !== 'string') throw invalid('a snapshot is named by a string');
  const row = rows.snapshotAt(name, store.visibleSeq);
  if (row !== undefined) return row;
  if (rows.damage !== undefined) throw rows.damage;
  throw new VarveError('VARVE_NOT_FOUND', `no snapshot ${JSON.stringify(name)}`);
}

function momentOfSeq(store: Store, seq: Seq): AskedMoment {
  const { visibleSeq, history, views } = store;
  if (!Number.isSafeInteger(seq) || seq < 0) {
    throw invalid('at: the number of a commit is an integer, 0 or more', { actual: seq });
  }
  if (seq > visibleSeq) throw invalid(`at: the newest commit is ${visibleSeq}`, { actual: seq });
  const isKept = seq === visibleSeq || store.forest.history.isSnapshotAt(seq, visibleSeq);
  const viewed = views.at(seq);
  const from = history.readable();
  const isWhole = (space: number): boolean =>
    isKept || viewed?.isWhole(space) === true || seq >= (from(space)?.seq ?? Number.POSITIVE_INFINITY);
  return { seq, expiryMs: -1, isWhole };
}

function momentOfDate(store: Store, ms: number): AskedMoment {
  if (!Number.isFinite(ms)) throw invalid('at: the Date is invalid');
  const { history, visibleSeq } = store;
  if (ms >= store.lastCommitMs) {
    return { seq: visibleSeq, expiryMs: Math.min(ms, historyMsMax), isWhole: () => true };
  }
  const from = history.readable();
  const isWhole = (space: number): boolean => ms >= (from(space)?.ms ?? Number.POSITIVE_INFINITY);
  return { seq: history.lastCommitBy(ms), expiryMs: ms, isWhole };
}

/** VARVE_HISTORY_GONE. */
export function historyGone({ seq }: Moment): VarveError {
  return new VarveError('VARVE_HISTORY_GONE', `the state after commit ${seq} is not kept any more`, {
    actual: seq,
  });
}

/** The number a space had at that moment; undefined where there was none. Undefined as name: the unnamed. */
export function spaceAt(store: Store, name: string | undefined, seq: Seq): number | undefined {
  if (name === undefined) return 0;
  const prefix = encodeSysPrefix(spaceKey(name));
  const row = new RowRef();
  const step = store.forest.system.findSync(prefix, 0, prefix.length, seq, row);
  if (step !== OK || row.kind !== rowKinds.put) return undefined;
  return decodeSpaceRow(spaceKey(name), row.bytes.subarray(row.valueFrom + 1, row.valueTo)).number;
}
