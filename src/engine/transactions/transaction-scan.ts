/**
 * Scans inside a transaction: what its view holds, with its own writes over it, and the range that was gone
 * through as a claim.
 *
 * Invariants (test/engine/transaction.test.ts)
 * - A scan shows what a sorted map would hold after the transaction's writes up to the call ("scans equal a
 *   model").
 * - The claim covers every key whose presence or absence the scan has told, and nothing behind it.
 */
import { compareBytes } from '../../base/bytes.ts';
import { boundsOf } from '../../format/internal-key.ts';
import type { PrefixRange } from '../../txn/claims.ts';
import { expiryOf } from '../../txn/write-op.ts';
import { keyBytes, keyOut } from '../key-args.ts';
import { statOf } from '../reading/reads.ts';
import { foldOf } from '../reading/scan-rows.ts';
import { type Plan, planScan, refuseAt, scanPlan } from '../reading/scans.ts';
import type { Entry, Key, KeyEntry, ScanOptions } from '../types.ts';
import type { OwnWrite, TransactionState } from './transaction-state.ts';

/** Options are checked, and own writes taken, at the call. */
export function scanTransaction(
  state: TransactionState,
  space: number,
  options: ScanOptions,
): AsyncIterable<Entry<Key>> {
  state.assertOpen();
  const entries = entriesOf(state, space, options);
  return {
    async *[Symbol.asyncIterator]() {
      state.assertOpen();
      for await (const entry of entries) {
        yield entry;
        state.assertOpen();
      }
    },
  };
}

/** The same for the transaction's own use: it goes on when the function has ended. */
export function entriesOf(
  state: TransactionState,
  space: number,
  options: ScanOptions,
): AsyncIterable<Entry<Key>> {
  refuseAt(options, 'transaction');
  const check = (): void => undefined;
  const plan = planScan({ ...state.moment, space, check }, options);
  const own = state.ownIn(plan);
  if (plan.reverse) own.reverse();
  return {
    [Symbol.asyncIterator]: () =>
      own.length === 0 ? claimed(state, plan) : shown(state, plan, merged(state, plan, own, options)),
  };
}

/** The committed entries, each claimed with the gap before it. */
async function* claimed(state: TransactionState, plan: Plan): AsyncGenerator<Entry<Key>> {
  const { from, to, reverse, limit, space } = plan;
  const seen: { from: Uint8Array; to: Uint8Array | undefined } = reverse
    ? { from: to ?? from, to }
    : { from, to: from };
  // Backwards from the end of the tree there is no bound to begin with: all of it is claimed.
  if (reverse && to === undefined) seen.from = from;
  state.claimRange(seen);
  let left = limit;
  for await (const entry of scanPlan(state.store, { ...plan, seen: state.seen })) {
    const around = boundsOfEntry(entry, space);
    if (!reverse) seen.to = around.to;
    else if (to !== undefined) seen.from = around.from;
    yield entry;
    left--;
  }
  if (left === 0) return;
  seen.from = from;
  seen.to = to;
}

function boundsOfEntry(entry: Entry<Key>, space: number): PrefixRange {
  if (entry.key === undefined) return boundsOf({ prefix: keyBytes(entry.prefix) }, space);
  const key = keyBytes(entry.key);
  return boundsOf({ gte: key, lte: key }, space);
}

/** Committed entries and own writes in the order of the scan; own ones win. Nothing is folded. */
async function* merged(
  state: TransactionState,
  plan: Plan,
  own: readonly OwnWrite[],
  { values = true, stats = false }: ScanOptions,
): AsyncGenerator<KeyEntry<Key>> {
  const whole = { ...plan, delimiter: undefined, limit: Number.MAX_SAFE_INTEGER };
  let at = 0;
  const show = async (write: OwnWrite): Promise<KeyEntry<Key> | undefined> =>
    write.value === undefined ? undefined : await ownEntry(state, write, values, stats);
  for await (const entry of claimed(state, whole)) {
    const committed = entry as KeyEntry<Key>;
    const key = keyBytes(committed.key);
    let isOwn = false;
    for (; at < own.length; at++) {
      const order = compareBytes(own[at]!.key, key);
      if (plan.reverse ? order < 0 : order > 0) break;
      isOwn ||= order === 0;
      const entry = await show(own[at]!);
      if (entry !== undefined) yield entry;
    }
    if (!isOwn) yield committed;
  }
  for (; at < own.length; at++) {
    const entry = await show(own[at]!);
    if (entry !== undefined) yield entry;
  }
}

async function ownEntry(
  state: TransactionState,
  write: OwnWrite,
  values: boolean,
  stats: boolean,
): Promise<KeyEntry<Key>> {
  const own = write.value!;
  const key = keyOut(write.key, state.store.keyEncoding);
  const entry: KeyEntry<Key> = { key, seq: 0, size: own.body.size };
  if (!values && !stats) return entry;
  const record = await ownRecord(state, write);
  if (values) entry.value = await state.reads.value(record);
  if (stats) entry.stat = statOf({ seq: 0, record });
  return entry;
}

/** The record of a key the transaction has put: created when the key was, if it was there. */
export async function ownRecord(state: TransactionState, { prefix, value }: OwnWrite) {
  const now = state.store.parts.env.clock.now();
  const before = await state.reads.find(prefix, state.moment);
  const expireAtMs = expiryOf(value!, now, state.store.forest.history.ttlOf(prefix));
  return await state.recordOf(value!, {
    createdMs: before?.record.createdMs ?? now,
    timeMs: now,
    expireAtMs,
  });
}

/** Folds and ends a scan as its plan says. */
async function* shown(
  state: TransactionState,
  { delimiter, prefix, limit }: Plan,
  entries: AsyncIterable<KeyEntry<Key>>,
): AsyncGenerator<Entry<Key>> {
  let left = limit;
  let last: Uint8Array | undefined;
  if (left === 0) return;
  for await (const entry of entries) {
    const fold = delimiter === undefined ? undefined : foldOf(keyBytes(entry.key), prefix, delimiter);
    if (fold === undefined) yield entry;
    else if (last !== undefined && compareBytes(fold, last) === 0) continue;
    else {
      last = fold;
      yield { prefix: keyOut(fold, state.store.keyEncoding) };
    }
    if (--left === 0) return;
  }
}
