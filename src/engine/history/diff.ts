/**
 * What differs between two points in time, key by key.
 *
 * Invariants (test/engine/diff.test.ts)
 * - A diff gives what a comparison of both states would ("a diff equals that of the two maps").
 */
import { compareBytes } from '../../base/bytes.ts';
import { checkNames } from '../../base/names.ts';
import { boundsOf, decodeInternalKey, encodeInternalKey } from '../../format/internal-key.ts';
import { changedKeys } from '../../snapshot/changed-keys.ts';
import { keyBytes, keyOut, rowPrefix, throwIfAborted } from '../key-args.ts';
import type { Pin } from '../reading/read-marks.ts';
import { type FoundVersion, type Reads, statOf } from '../reading/reads.ts';
import { scan } from '../reading/scans.ts';
import type { Store } from '../store.ts';
import type { Key } from '../types.ts';
import type { Difference, DiffOptions } from './history-types.ts';
import { historyGone, momentOf, spaceAt } from './moment.ts';
import type { At, Moment } from './point.ts';

/** One of the two states. Expiry plays no part: a value counts until a commit deletes it. */
interface Side {
  readonly moment: Moment;
  readonly space: number | undefined;
  readonly pin: Pin;
}

/** One side of a key. */
type Found = FoundVersion | undefined;

/**
 * Starts a diff: both states are fixed at the call, and kept until the first loop ends; a loop after that
 * asks for them again. Errors as of reads at these points; VARVE_HISTORY_GONE where one of them is not
 * whole.
 */
export function diff(
  store: Store,
  reads: Reads,
  name: string | undefined,
  points: { readonly from: At; readonly to: At },
  options: DiffOptions,
): AsyncIterable<Difference<Key>> {
  store.assertReadable();
  checkNames(options, ['prefix', 'signal'], 'diff option');
  const prefix =
    options.prefix === undefined ? new Uint8Array(0) : keyBytes(options.prefix, 'prefix').slice();
  const begin = (): Run => {
    const [from, to] = sidesOf(store, name, points);
    return { store, reads, from, to, prefix, signal: options.signal };
  };
  let first: Run | undefined = begin();
  return {
    [Symbol.asyncIterator]: () => {
      const run = first ?? begin();
      first = undefined;
      return differences(run);
    },
  };
}

function sidesOf(store: Store, name: string | undefined, points: { from: At; to: At }): [Side, Side] {
  const from = sideOf(store, name, points.from);
  try {
    return [from, sideOf(store, name, points.to)];
  } catch (error) {
    from.pin.end();
    throw error;
  }
}

function sideOf(store: Store, name: string | undefined, at: At): Side {
  const asked = momentOf(store, at);
  const space = spaceAt(store, name, asked.seq);
  if (!asked.isWhole(space ?? 0)) throw historyGone(asked);
  return { moment: { seq: asked.seq, expiryMs: -1 }, space, pin: store.marks.pin(asked.seq) };
}

interface Run {
  readonly store: Store;
  readonly reads: Reads;
  readonly from: Side;
  readonly to: Side;
  readonly prefix: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

async function* differences(run: Run): AsyncGenerator<Difference<Key>, void, undefined> {
  const { store, from, to, signal } = run;
  try {
    const isOneSpace = from.space !== undefined && from.space === to.space;
    for await (const [key, before, after] of isOneSpace ? changed(run, from.space) : compared(run)) {
      throwIfAborted(signal);
      store.assertReadable();
      if (before?.seq !== after?.seq) yield difference(store, key, before, after);
    }
  } finally {
    from.pin.end();
    to.pin.end();
  }
}

function difference(store: Store, key: Uint8Array, before: Found, after: Found): Difference<Key> {
  const change = before === undefined ? 'added' : after === undefined ? 'removed' : 'changed';
  const out: Difference<Key> = { key: keyOut(key, store.keyEncoding), change };
  if (before !== undefined) out.before = statOf(before);
  if (after !== undefined) out.after = statOf(after);
  return out;
}

/** Both states of the keys of one space that may differ. */
async function* changed(
  { store, reads, from, to, prefix }: Run,
  space: number,
): AsyncGenerator<[Uint8Array, Found, Found], void, undefined> {
  const bounds = boundsOf({ prefix }, space);
  store.forest.keys.lost.refuseRange(bounds.from, bounds.to);
  const low = Math.min(from.moment.seq, to.moment.seq);
  const high = Math.max(from.moment.seq, to.moment.seq);
  const view = store.openView();
  try {
    const ranges = view.ranges?.rows ?? [];
    for await (const row of changedKeys(view, ranges, { ...bounds, low, high })) {
      const before = await reads.find(row, from.moment);
      const after = await reads.find(row, to.moment);
      const { userKey } = decodeInternalKey(encodeInternalKey(row, 0), 0, row.length + 8, {
        file: 'key tree',
      });
      yield [userKey, before, after];
    }
  } finally {
    store.closeView(view);
  }
}

/** Both states of all keys: the name was that of different spaces. */
async function* compared({
  store,
  reads,
  from,
  to,
  prefix,
}: Run): AsyncGenerator<[Uint8Array, Found, Found]> {
  const keysOf = (side: Side): AsyncIterator<{ key?: Key }> => {
    const check = (): void => undefined;
    const state = () => ({ ...side.moment, space: side.space, check });
    return scan(store, state, { prefix, values: false })[Symbol.asyncIterator]();
  };
  const find = async (side: Side, key: Uint8Array | undefined): Promise<Found> =>
    key === undefined || side.space === undefined
      ? undefined
      : await reads.find(rowPrefix(side.space, key), side.moment);
  const next = async (keys: AsyncIterator<{ key?: Key }>): Promise<Uint8Array | undefined> => {
    const { value, done } = await keys.next();
    return done === true ? undefined : keyBytes(value.key!);
  };
  const [left, right] = [keysOf(from), keysOf(to)];
  let [a, b] = [await next(left), await next(right)];
  while (a !== undefined || b !== undefined) {
    const order = a === undefined ? 1 : b === undefined ? -1 : compareBytes(a, b);
    const key = order <= 0 ? a! : b!;
    yield [key, await find(from, order <= 0 ? a : undefined), await find(to, order >= 0 ? b : undefined)];
    if (order <= 0) a = await next(left);
    if (order >= 0) b = await next(right);
  }
}
